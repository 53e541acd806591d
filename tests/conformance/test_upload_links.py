"""Symlinks in a source: what becomes of them (protocol, sections 2.2 and 5.1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import OwnService
from .service import Service, Symlink, link, linked, plain


def targets(service: Service, address: str) -> dict[str, str]:
    """The symlinks of a version on disk."""
    version = service.registry / address
    return {
        str(path.relative_to(version)): os.readlink(path)
        for path in version.rglob("*")
        if path.is_symlink()
    }


@pytest.mark.parametrize(
    ("place", "target", "on_disk"),
    [
        ("b", "a", "a"),
        ("b", "./a", "a"),
        ("b", "d/../a", "a"),
        ("d/b", "../a", "../a"),
        ("d/e/b", "../../a", "../../a"),
        ("b", "d/c", "d/c"),
        ("d/b", "c", "c"),
        ("e/b", "../d/c", "../d/c"),
    ],
)
def test_a_link_within_the_source_becomes_one_within_the_version(
    service: Service, project: str, place: str, target: str, on_disk: str
) -> None:
    at = f"{project}/asset/1"
    manifest = service.upload(at, {"a": b"file a", "d/c": b"file c", place: Symlink(target)})
    path = "d/c" if target.endswith("c") else "a"
    content = b"file c" if path == "d/c" else b"file a"
    assert manifest[place] == linked(content, link(f"{at}/{path}"))
    assert targets(service, at) == {place: on_disk}
    assert (service.registry / at / place).read_bytes() == content


def test_a_link_within_the_source_may_be_absolute(service: Service, project: str) -> None:
    at = f"{project}/asset/1"
    payload = service.upload_of(at, {"d/a": b"content"})
    source = service.staging / payload["source"]
    (source / "b").symlink_to(source / "d/a")
    service.succeed("upload", payload)
    assert service.read(f"{at}/..manifest")["b"] == linked(b"content", link(f"{at}/d/a"))
    assert targets(service, at) == {"b": "d/a"}


@pytest.mark.beyond
def test_a_link_that_passes_a_link_to_a_directory_leads_where_the_kernel_says(
    service: Service, project: str
) -> None:
    at = f"{project}/asset/1"
    tree = {
        "f": b"another file",
        "d/f": b"the file",
        "d/e/f": b"below",
        ".way": Symlink("d/e"),
        "around": Symlink(".way/../f"),
        "d/through": Symlink("../.way/f"),
    }
    manifest = service.upload(at, tree, ignore_dot=True)
    assert manifest["around"] == linked(b"the file", link(f"{at}/d/f"))
    assert manifest["d/through"] == linked(b"below", link(f"{at}/d/e/f"))
    assert targets(service, at) == {"around": "d/f", "d/through": "e/f"}
    assert (service.registry / at / "around").read_bytes() == b"the file"


@pytest.mark.beyond
def test_a_link_may_use_another_name_of_the_registry_or_of_staging(
    service: Service, project: str, tmp_path: Path
) -> None:
    service.upload(f"{project}/asset/1", {"d/f": b"published"})
    (tmp_path / "registry").symlink_to(service.registry)
    (tmp_path / "staging").symlink_to(service.staging)
    payload = service.upload_of(f"{project}/asset/2", {"own": b"own"})
    source = service.staging / payload["source"]
    (source / "theirs").symlink_to(f"{tmp_path}/registry/{project}/asset/1/d/../d/f")
    (source / "mine").symlink_to(f"{tmp_path}/staging/{source.name}/own")
    service.succeed("upload", payload)
    manifest = service.read(f"{project}/asset/2/..manifest")
    assert manifest["theirs"] == linked(b"published", link(f"{project}/asset/1/d/f"))
    assert manifest["mine"] == linked(b"own", link(f"{project}/asset/2/own"))


def test_a_chain_within_the_source_points_straight_to_the_file(
    service: Service, project: str
) -> None:
    at = f"{project}/asset/1"
    tree = {"a": b"real", "b": Symlink("a"), "d/c": Symlink("../b"), "d/e/f": Symlink("../c")}
    manifest = service.upload(at, tree)
    assert manifest == {
        "a": plain(b"real"),
        "b": linked(b"real", link(f"{at}/a")),
        "d/c": linked(b"real", link(f"{at}/b", f"{at}/a")),
        "d/e/f": linked(b"real", link(f"{at}/d/c", f"{at}/a")),
    }
    assert targets(service, at) == {"b": "a", "d/c": "../a", "d/e/f": "../../a"}


def test_a_long_chain_of_links_is_no_trouble(service: Service, project: str) -> None:
    at = f"{project}/asset/1"
    tree = {"0": b"real", **{str(i): Symlink(str(i - 1)) for i in range(1, 31)}}
    manifest = service.upload(at, tree)
    assert manifest["30"] == linked(b"real", link(f"{at}/29", f"{at}/0"))
    assert targets(service, at) == {str(i): "0" for i in range(1, 31)}


def test_a_link_to_a_deduplicated_file_has_its_ancestor(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"old"})
    manifest = service.upload(f"{at}/2", {"x": b"old", "d/y": Symlink("../x")})
    assert manifest == {
        "x": linked(b"old", link(f"{at}/1/a")),
        "d/y": linked(b"old", link(f"{at}/2/x", f"{at}/1/a")),
    }
    assert targets(service, f"{at}/2") == {"x": "../1/a", "d/y": "../../1/a"}


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_to_a_published_file_becomes_a_link_to_it(
    service: Service, project: str, relative: bool
) -> None:
    other = service.new_project()
    service.upload(f"{other}/data/v1", {"deep/er/file": b"published"})
    payload = service.upload_of(f"{project}/asset/1", {"own": b"own", "d/e": None})
    target: Path | str = service.registry / other / "data/v1/deep/er/file"
    place = service.staging / payload["source"] / "d/link"
    place.symlink_to(os.path.relpath(target, place.parent) if relative else target)
    service.succeed("upload", payload)
    manifest = service.read(f"{project}/asset/1/..manifest")
    parent = f"{other}/data/v1/deep/er/file"
    assert manifest["d/link"] == linked(b"published", link(parent))
    assert manifest["own"] == plain(b"own")
    assert targets(service, f"{project}/asset/1") == {"d/link": f"../../../../{parent}"}


def test_a_link_to_a_published_link_has_the_real_file_as_ancestor(
    service: Service, project: str
) -> None:
    first = service.new_project()
    for version in ("1", "2", "3"):
        service.upload(f"{first}/data/{version}", {"f": b"published"})
    target = service.registry / first / "data/3/f"
    manifest = service.upload(f"{project}/asset/1", {"link": Symlink(target)})
    assert manifest == {
        "link": linked(b"published", link(f"{first}/data/3/f", f"{first}/data/1/f"))
    }
    assert targets(service, f"{project}/asset/1") == {"link": f"../../../{first}/data/1/f"}
    then = service.registry / project / "asset/1/link"
    manifest = service.upload(f"{project}/asset/2", {"again": Symlink(then)})
    assert manifest == {
        "again": linked(b"published", link(f"{project}/asset/1/link", f"{first}/data/1/f"))
    }


def test_a_link_to_an_older_version_of_the_same_asset_is_a_link(
    service: Service, project: str
) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"old"})
    service.upload(f"{at}/2", {"b": b"new"})
    manifest = service.upload(f"{at}/3", {"a": Symlink(service.registry / at / "1/a")})
    assert manifest == {"a": linked(b"old", link(f"{at}/1/a"))}


def test_a_link_in_the_source_to_a_link_into_the_registry_has_its_ancestor(
    service: Service, project: str
) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"old"})
    tree = {"x": Symlink(service.registry / at / "1/a"), "y": Symlink("x")}
    manifest = service.upload(f"{at}/2", tree)
    assert manifest == {
        "x": linked(b"old", link(f"{at}/1/a")),
        "y": linked(b"old", link(f"{at}/2/x", f"{at}/1/a")),
    }


def test_links_cost_nothing_and_read_like_files(service: Service, project: str) -> None:
    at = f"{project}/asset"
    service.upload(f"{at}/1", {"a": b"12345"})
    tree = {"x": Symlink(service.registry / at / "1/a"), "y": Symlink("x"), "z": b"678"}
    service.upload(f"{at}/2", tree)
    assert service.read(f"{project}/..usage") == {"total": 8}
    assert service.fetch(f"{at}/2/y").content == b"12345"


def test_the_names_in_links_may_be_odd(service: Service, project: str) -> None:
    at = f"{project}/a ü/v %+"
    name = "日本 %41+'\".txt"
    manifest = service.upload(at, {f"d/{name}": b"x", f"e/{name}": Symlink(f"../d/{name}")})
    assert manifest[f"e/{name}"] == linked(b"x", link(f"{at}/d/{name}"))
    assert service.read(f"{at}/e/..links") == {name: link(f"{at}/d/{name}")}


def test_a_link_that_starts_with_two_dots_is_left_out_whatever_it_points_at(
    service: Service, project: str
) -> None:
    tree = {"a": b"a", "..gone": Symlink("/nowhere"), ".dot": Symlink("/nowhere")}
    assert set(service.upload(f"{project}/asset/1", tree, ignore_dot=True)) == {"a"}


class TestALinkToAWhitelistedFile:
    def test_is_kept_with_an_absolute_target(self, own: OwnService, project: str) -> None:
        service, at = own.service, f"{project}/asset/1"
        archived = own.whitelisted / "deep" / service.unique()
        archived.parent.mkdir(exist_ok=True)
        archived.write_bytes(b"archived")
        payload = service.upload_of(at, {"d/absolute": Symlink(archived)})
        place = service.staging / payload["source"] / "relative"
        place.symlink_to(os.path.relpath(archived, place.parent))
        service.succeed("upload", payload)
        manifest = service.read(f"{at}/..manifest")
        assert manifest == {"d/absolute": plain(b"archived"), "relative": plain(b"archived")}
        assert targets(service, at) == {"d/absolute": str(archived), "relative": str(archived)}
        assert not (service.registry / at / "..links").exists()
        assert service.fetch(f"{at}/relative").content == b"archived"

    def test_can_be_linked_to_within_the_source(self, own: OwnService, project: str) -> None:
        service, at = own.service, f"{project}/asset/1"
        archived = own.whitelisted / service.unique()
        archived.write_bytes(b"archived")
        manifest = service.upload(at, {"a": Symlink(archived), "b": Symlink("a")})
        assert manifest == {"a": plain(b"archived"), "b": linked(b"archived", link(f"{at}/a"))}
        assert targets(service, at)["b"] == "a"

    def test_is_left_alone_by_consume(self, own: OwnService, project: str) -> None:
        service = own.service
        archived = own.whitelisted / service.unique()
        archived.write_bytes(b"archived")
        service.upload(f"{project}/asset/1", {"a": Symlink(archived)}, consume=True)
        assert archived.read_bytes() == b"archived"
