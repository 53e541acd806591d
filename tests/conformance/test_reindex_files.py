"""``reindex_version``: files and directories that an administrator has put there or removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .addresses import naming
from .checks import check_valid, latest_of, unchanged
from .service import EMPTY_DIRECTORY, Service, Symlink, link, linked, plain, refused
from .test_records import is_pretty

TREE = {"a": b"a", "d/b": b"bb", "d/l": Symlink("b"), "empty/inner": None}


@pytest.fixture
def project(passing_project: str) -> str:
    """A project that may be damaged."""
    return passing_project


@pytest.fixture
def at(service: Service, project: str) -> str:
    """The address of a version, which is not the latest."""
    service.upload(f"{project}/asset/1", TREE)
    service.upload(f"{project}/asset/2", {"other": b"other"})
    return f"{project}/asset/1"


@pytest.fixture
def version(at: str, writable_registry: Path) -> Path:
    """Its directory."""
    return writable_registry / at


def reindex(service: Service, at: str) -> dict[str, Any]:
    """The manifest afterwards, which must be valid."""
    assert service.succeed("reindex_version", naming(at)) == {"status": "SUCCESS"}
    service.succeed("validate_version", naming(at))
    return service.read(f"{at}/..manifest")


def test_an_untouched_version_keeps_its_records(
    service: Service, project: str, at: str, version: Path
) -> None:
    before = service.snapshot(project)
    reindex(service, at)
    after = service.snapshot(project)
    assert {path for path in after if after[path] != before.get(path)} == {"..logs"}


def test_a_file_added_by_hand_is_listed(service: Service, at: str, version: Path) -> None:
    before = service.read(f"{at}/..manifest")
    (version / "d/by hand").write_bytes(b"new")
    (version / "Z").write_bytes(b"")
    manifest = reindex(service, at)
    assert manifest == {**before, "d/by hand": plain(b"new"), "Z": plain(b"")}
    assert list(manifest) == sorted(manifest)


def test_a_file_removed_by_hand_is_not_listed(service: Service, at: str, version: Path) -> None:
    (version / "a").unlink()
    assert set(reindex(service, at)) == {"d/b", "d/l", "empty/inner"}


def test_a_file_changed_by_hand_is_listed_as_it_is(
    service: Service, at: str, version: Path
) -> None:
    (version / "d/b").write_bytes(b"changed")
    manifest = reindex(service, at)
    assert manifest["d/b"] == plain(b"changed")
    assert manifest["d/l"] == linked(b"changed", link(f"{at}/d/b"))


class TestDirectories:
    def test_that_hold_nothing_are_listed(self, service: Service, at: str, version: Path) -> None:
        (version / "new/deep").mkdir(parents=True)
        manifest = reindex(service, at)
        assert manifest["new/deep"] == EMPTY_DIRECTORY
        assert "new" not in manifest

    def test_that_were_emptied_are_listed(self, service: Service, at: str, version: Path) -> None:
        (version / "d/b").unlink()
        (version / "d/l").unlink()
        manifest = reindex(service, at)
        assert manifest["d"] == EMPTY_DIRECTORY
        assert not (version / "d/..links").exists()

    def test_that_hold_something_now_are_not_listed(
        self, service: Service, at: str, version: Path
    ) -> None:
        (version / "empty/inner/file").write_bytes(b"f")
        manifest = reindex(service, at)
        assert "empty/inner" not in manifest
        assert manifest["empty/inner/file"] == plain(b"f")

    def test_that_were_removed_are_not_listed(
        self, service: Service, at: str, version: Path
    ) -> None:
        shutil.rmtree(version / "d")
        shutil.rmtree(version / "empty")
        assert set(reindex(service, at)) == {"a"}

    def test_that_hold_internal_files_alone_hold_nothing(
        self, service: Service, at: str, version: Path
    ) -> None:
        (version / "empty/inner/..note").write_bytes(b"internal")
        assert reindex(service, at)["empty/inner"] == EMPTY_DIRECTORY


def test_internal_files_are_never_listed(service: Service, at: str, version: Path) -> None:
    (version / "..note").write_bytes(b"internal")
    (version / "..dir").mkdir()
    (version / "..dir/file").write_bytes(b"internal")
    assert set(reindex(service, at)) == set(TREE)
    assert (version / "..dir/file").read_bytes() == b"internal"


def test_names_that_start_with_a_dot_are_listed(service: Service, at: str, version: Path) -> None:
    (version / ".hidden").write_bytes(b"h")
    assert reindex(service, at)[".hidden"] == plain(b"h")


@pytest.mark.parametrize("content", [None, b"", b"oops", b"[]", b'{"a": 5}', b"{}"])
def test_a_damaged_manifest_is_repaired(
    service: Service, at: str, version: Path, content: bytes | None
) -> None:
    before = (version / "..manifest").read_bytes()
    (version / "..manifest").unlink()
    if content is not None:
        (version / "..manifest").write_bytes(content)
    reindex(service, at)
    assert (version / "..manifest").read_bytes() == before
    assert is_pretty(version / "..manifest")


def test_usage_and_latest_are_left_alone(
    service: Service, project: str, at: str, version: Path
) -> None:
    before = service.read(f"{project}/..usage")
    (version / "big").write_bytes(b"x" * 1000)
    reindex(service, at)
    assert service.read(f"{project}/..usage") == before
    assert latest_of(service, f"{project}/asset") == "2"


def test_a_wrong_latest_is_left_alone(
    service: Service, project: str, at: str, version: Path
) -> None:
    record = version.parent / "..latest"
    record.write_bytes(b'{"version": "1"}')
    reindex(service, f"{project}/asset/2")
    assert record.read_bytes() == b'{"version": "1"}'


def test_the_summary_is_left_alone(service: Service, at: str, version: Path) -> None:
    record = version / "..summary"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "extra": True}))
    before = record.read_bytes()
    reindex(service, at)
    assert record.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"oops"])
def test_without_a_summary_it_is_refused(
    service: Service, project: str, at: str, version: Path, content: bytes | None
) -> None:
    (version / "..summary").unlink()
    if content is not None:
        (version / "..summary").write_bytes(content)
    (version / "new").write_bytes(b"new")
    refused(service.submit("reindex_version", naming(at)))


@pytest.mark.beyond
@pytest.mark.parametrize("content", [None, b"", b"oops", b"{}"])
def test_without_a_summary_nothing_is_changed(
    service: Service, project: str, at: str, version: Path, content: bytes | None
) -> None:
    (version / "..summary").unlink()
    if content is not None:
        (version / "..summary").write_bytes(content)
    (version / "new").write_bytes(b"new")
    with unchanged(service, project):
        refused(service.submit("reindex_version", naming(at)))


@pytest.mark.parametrize(("version_name", "is_latest"), [("1", False), ("2", True)])
def test_it_is_logged(
    service: Service, project: str, at: str, version_name: str, is_latest: bool
) -> None:
    before = len(service.logs(project))
    address = f"{project}/asset/{version_name}"
    reindex(service, address)
    entries = service.logs(project)
    assert len(entries) == before + 1
    assert {**naming(address), "type": "reindex-version", "latest": is_latest} in entries


def test_nothing_is_logged_of_a_version_on_probation(service: Service, project: str) -> None:
    service.upload(f"{project}/asset/beta", {"a": b"a"}, on_probation=True)
    reindex(service, f"{project}/asset/beta")
    assert service.logs(project) == []
    assert service.read(f"{project}/asset/beta/..summary")["on_probation"] is True
    assert latest_of(service, f"{project}/asset") is None


def test_versions_that_link_to_it_stay_valid(
    service: Service, project: str, at: str, version: Path
) -> None:
    service.upload(f"{project}/linking/1", {"l": Symlink(version / "a")})
    (version / "new").write_bytes(b"new")
    reindex(service, at)
    check_valid(service, project)


@pytest.mark.beyond
def test_what_can_not_be_in_a_version_is_refused_and_named(
    service: Service, project: str, at: str, version: Path
) -> None:
    (version / "bad\nname").write_bytes(b"")
    with unchanged(service, project):
        service.refuse("reindex_version", naming(at), "bad", status=400)
