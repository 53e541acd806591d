"""Symlinks that an upload refuses, and that it changes nothing then (protocol, section 5.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import OwnService
from .service import Service, Symlink, build

PLACE = "sub/culprit"


@pytest.fixture
def published(service: Service, project: str) -> str:
    """``project/asset``, with a version 0 and one on probation."""
    service.upload(f"{project}/asset/0", {"zero": b"0", "d/file": b"file", "empty": None})
    service.upload(f"{project}/asset/beta", {"b": b"beta"}, on_probation=True)
    return f"{project}/asset"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that is no business of the service."""
    build(tmp_path / "outside", {"file": b"outside", "d/file": b"outside"})
    return tmp_path / "outside"


# Targets as patterns: {registry}, {asset} and {version} are in the registry, {source} is
# the source, {staged} another source, {outside} a directory elsewhere.
REFUSED = {
    "a missing file": "missing",
    "a missing absolute file": "/nowhere/at/all",
    "itself": "culprit",
    "a loop": "../loop/a",
    "the source": "{source}",
    "the directory it is in": ".",
    "a directory of the source": "../directory",
    "a directory outside": "{outside}/d",
    "a file outside": "{outside}/file",
    "a file outside by many dots": "../../../../../../../../../../../../../../{outside}/file",
    "a file of the machine": "/etc/passwd",
    "another source": "{staged}/file",
    "another source by a relative path": "../../{staged.name}/file",
    "the staging directory": "{staging}",
    "the registry": "{registry}",
    "a project": "{project}",
    "an asset": "{asset}",
    "a version": "{asset}/0",
    "a directory of a version": "{asset}/0/d",
    "an empty directory of a version": "{asset}/0/empty",
    "a missing file of a version": "{asset}/0/missing",
    "a missing version": "{asset}/2/zero",
    "the version being uploaded": "{asset}/1/real",
    "a version on probation": "{asset}/beta/b",
    "the manifest of a version": "{asset}/0/..manifest",
    "the summary of a version": "{asset}/0/..summary",
    "the latest version's name": "{asset}/..latest",
    "the permissions of a project": "{project}/..permissions",
    "the usage of a project": "{project}/..usage",
    "a left out file of the source": "../..secret",
    "a file in a left out directory": "../..hidden/file",
}


@pytest.mark.parametrize("target", REFUSED.values(), ids=REFUSED)
class TestALinkTo:
    def upload(
        self, service: Service, published: str, outside: Path, target: str, status: int | None
    ) -> None:
        tree = {
            "real": b"real",
            "directory/file": b"in a directory",
            "loop/a": Symlink("../sub/culprit"),
            "..secret": b"left out",
            "..hidden/file": b"left out",
            "sub": None,
        }
        if "loop" not in target:
            del tree["loop/a"]
        payload = service.upload_of(f"{published}/1", tree)
        source = service.staging / payload["source"]
        places = {
            "registry": service.registry,
            "project": service.registry / published.split("/", maxsplit=1)[0],
            "asset": service.registry / published,
            "staging": service.staging,
            "source": source,
            "staged": service.staging / service.stage({"file": b"of another source"}),
            "outside": outside,
        }
        (source / PLACE).symlink_to(target.format(**places))
        service.refuse("upload", payload, status=status)

    def test_is_refused_and_changes_nothing(
        self, service: Service, published: str, outside: Path, target: str
    ) -> None:
        self.upload(service, published, outside, target, None)

    @pytest.mark.beyond
    def test_is_the_clients_mistake(
        self, service: Service, published: str, outside: Path, target: str
    ) -> None:
        self.upload(service, published, outside, target, 400)


def test_the_reason_names_the_link(service: Service, published: str) -> None:
    payload = service.upload_of(f"{published}/1", {PLACE: Symlink("missing")})
    service.refuse("upload", payload, PLACE)


def test_a_link_to_a_file_that_ignore_dot_leaves_out_is_refused(
    service: Service, published: str
) -> None:
    tree = {".dot": b"left out", PLACE: Symlink("../.dot")}
    payload = service.upload_of(f"{published}/1", tree, ignore_dot=True)
    service.refuse("upload", payload, ".dot")


@pytest.mark.beyond
def test_its_reason_names_the_link_too(service: Service, published: str) -> None:
    tree = {".dot": b"left out", PLACE: Symlink("../.dot")}
    payload = service.upload_of(f"{published}/1", tree, ignore_dot=True)
    service.refuse("upload", payload, PLACE, status=400)


def test_a_link_to_a_file_that_no_manifest_lists_is_refused(
    service: Service, published: str, writable_registry: Path
) -> None:
    stray = writable_registry / published / "0" / "stray"
    stray.write_bytes(b"put there by hand")
    payload = service.upload_of(f"{published}/1", {PLACE: Symlink(stray)})
    service.refuse("upload", payload, "stray")


class TestNearAWhitelistedDirectory:
    def refuse(self, own: OwnService, published: str, target: Path | str) -> None:
        payload = own.service.upload_of(f"{published}/1", {PLACE: Symlink(target)})
        own.service.refuse("upload", payload, PLACE, status=400)

    def test_one_whose_name_only_starts_alike_does_not_count(
        self, own: OwnService, published: str
    ) -> None:
        sibling = own.whitelisted.with_name(own.whitelisted.name + own.service.unique())
        build(sibling, {"file": b"x"})
        self.refuse(own, published, sibling / "file")

    def test_a_path_that_leaves_it_again_does_not_count(
        self, own: OwnService, published: str
    ) -> None:
        sibling = own.whitelisted.with_name(own.service.unique())
        build(sibling, {"file": b"x"})
        self.refuse(own, published, f"{own.whitelisted}/../{sibling.name}/file")

    def test_the_directory_itself_is_refused(self, own: OwnService, published: str) -> None:
        self.refuse(own, published, own.whitelisted)

    def test_a_directory_below_it_is_refused(self, own: OwnService, published: str) -> None:
        (own.whitelisted / "below").mkdir(exist_ok=True)
        self.refuse(own, published, own.whitelisted / "below")

    def test_a_missing_file_below_it_is_refused(self, own: OwnService, published: str) -> None:
        self.refuse(own, published, own.whitelisted / own.service.unique())
