"""Deduplication against the latest version (protocol, section 5.2; section 9, number 4)."""

from __future__ import annotations

import os

import pytest

from .service import Service, link, linked, md5, plain

# Two contents of equal size and MD5, published by X. Wang, D. Feng, X. Lai and H. Yu in 2004.
FIRST = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
SECOND = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70"
)


def on_disk(service: Service, path: str) -> str:
    return os.readlink(service.registry / path)


def test_an_unchanged_file_is_linked_to_the_latest_version(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"same": b"same", "d/other": b"old"})
    manifest = service.upload(f"{at}/2", {"same": b"same", "d/other": b"new"})
    assert manifest == {"same": linked(b"same", link(f"{at}/1/same")), "d/other": plain(b"new")}
    assert on_disk(service, f"{at}/2/same") == "../1/same"
    assert service.read(f"{at}/2/..links") == {"same": link(f"{at}/1/same")}


def test_a_renamed_file_is_linked_too(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"content"})
    manifest = service.upload(f"{at}/2", {"x/y/b": b"content", "c": b"content"})
    expected = linked(b"content", link(f"{at}/1/a"))
    assert manifest == {"x/y/b": expected, "c": expected}
    assert on_disk(service, f"{at}/2/x/y/b") == "../../../1/a"


def test_the_real_file_at_the_end_is_the_ancestor(service: Service, project: str) -> None:
    at = f"{project}/asset"
    for version in ("1", "2", "3", "4"):
        service.upload(f"{at}/{version}", {"d/a": b"for ever"})
    manifest = service.read(f"{at}/4/..manifest")
    assert manifest == {"d/a": linked(b"for ever", link(f"{at}/3/d/a", f"{at}/1/d/a"))}
    assert on_disk(service, f"{at}/4/d/a") == "../../1/d/a"


def test_only_the_latest_version_counts(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"old"})
    service.upload(f"{at}/2", {"b": b"new"})
    assert service.upload(f"{at}/3", {"a": b"old"}) == {"a": plain(b"old")}


def test_a_version_on_probation_does_not_count(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"approved"})
    service.upload(f"{at}/2", {"b": b"probation"}, on_probation=True)
    manifest = service.upload(f"{at}/3", {"a": b"approved", "b": b"probation"})
    assert manifest == {
        "a": linked(b"approved", link(f"{at}/1/a")),
        "b": plain(b"probation"),
    }


def test_a_version_on_probation_is_deduplicated_itself(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"approved"})
    manifest = service.upload(f"{at}/2", {"a": b"approved"}, on_probation=True)
    assert manifest == {"a": linked(b"approved", link(f"{at}/1/a"))}


def test_another_asset_does_not_count(service: Service, project: str) -> None:
    service.upload(f"{project}/first/1", {"a": b"content"})
    assert service.upload(f"{project}/second/1", {"a": b"content"}) == {"a": plain(b"content")}


def test_equal_size_alone_is_not_enough(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"12345678"})
    assert service.upload(f"{at}/2", {"a": b"12345679"}) == {"a": plain(b"12345679")}


def test_an_empty_directory_is_never_linked(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"e": None, "a": b"a"})
    manifest = service.upload(f"{at}/2", {"e": None, "a": b"a"})
    assert manifest["e"] == {"size": 0, "md5sum": ""}
    assert (service.registry / at / "2/e").is_dir()


def test_a_linked_file_counts_nothing_towards_usage(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"x" * 100, "b": b"y" * 10})
    service.upload(f"{at}/2", {"a": b"x" * 100, "b": b"z" * 1})
    assert service.read(f"{project}/..usage") == {"total": 111}


def test_a_linked_file_reads_like_any_other(service: Service, project: str) -> None:
    at = f"{project}/asset"
    for version in ("1", "2", "3"):
        service.upload(f"{at}/{version}", {"a": b"content"})
    assert service.fetch(f"{at}/3/a").content == b"content"


@pytest.mark.beyond
def test_equal_size_and_md5_do_not_make_different_content_equal(
    service: Service, project: str
) -> None:
    assert FIRST != SECOND
    assert md5(FIRST) == md5(SECOND)
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": FIRST})
    manifest = service.upload(f"{at}/2", {"a": SECOND, "b": FIRST})
    assert manifest["a"] == plain(SECOND)
    assert manifest["b"] == linked(FIRST, link(f"{at}/1/a"))
    assert service.fetch(f"{at}/2/a").content == SECOND
    assert service.fetch(f"{at}/2/b").content == FIRST


@pytest.mark.beyond
def test_a_collision_within_the_latest_version_does_not_confuse(
    service: Service, project: str
) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": FIRST, "b": SECOND})
    service.upload(f"{at}/2", {"a": SECOND, "b": FIRST})
    assert service.fetch(f"{at}/2/a").content == SECOND
    assert service.fetch(f"{at}/2/b").content == FIRST
