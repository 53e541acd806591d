"""The source directory of an upload, and ``consume`` (protocol, sections 5 and 5.3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .accounts import ALICE, BOB
from .service import Service, Symlink, build, give, plain
from .test_upload import TREE, content_of


def naming(project: str, source: str) -> dict[str, str]:
    return {"project": project, "asset": "asset", "version": "1", "source": source}


@pytest.fixture(autouse=True)
def _asset(service: Service, project: str) -> None:
    """The asset exists already, so that a refusal has nothing to leave behind."""
    service.upload(f"{project}/asset/0", {"zero": b"0"})


def test_a_missing_source_is_refused(service: Service, project: str) -> None:
    source = service.unique()
    service.refuse("upload", naming(project, source), source, status=400)


def test_a_source_that_is_a_file_is_refused(service: Service, project: str) -> None:
    source = service.unique()
    (service.staging / source).write_text("not a directory")
    service.refuse("upload", naming(project, source), source, status=400)


def test_a_source_that_is_a_fifo_is_refused(service: Service, project: str) -> None:
    source = service.unique()
    os.mkfifo(service.staging / source)
    service.refuse("upload", naming(project, source), source, status=400)


@pytest.mark.parametrize("outside", [True, False])
def test_a_source_that_is_a_symlink_is_refused(
    service: Service, project: str, tmp_path: Path, outside: bool
) -> None:
    target = tmp_path / "target" if outside else service.staging / service.unique()
    build(target, TREE)
    source = service.unique()
    (service.staging / source).symlink_to(target)
    service.refuse("upload", naming(project, source), source, status=400)


@pytest.mark.parametrize(
    "shape", ["{0}/inner", "{0}/", "./{0}", "../staging/{0}", "/{0}", "", "../{0}"]
)
def test_a_source_that_is_no_bare_name_is_refused(
    service: Service, project: str, shape: str
) -> None:
    source = shape.format(service.stage({"inner/a": b"a"}))
    service.refuse("upload", naming(project, source), "source", status=400)


def test_an_absolute_source_is_refused(service: Service, project: str) -> None:
    source = str(service.staging / service.stage({"a": b"a"}))
    service.refuse("upload", naming(project, source), "source", status=400)


@pytest.mark.beyond
@pytest.mark.parametrize("source", [".", "..", "/", "a\0b"])
def test_a_source_that_means_another_directory_is_refused(
    service: Service, project: str, source: str
) -> None:
    service.refuse("upload", naming(project, source), "source", status=400)


@pytest.mark.usefixtures("accounts")
def test_a_source_of_somebody_else_is_not_allowed(service: Service) -> None:
    project = service.new_project(owners=[ALICE])
    service.upload(f"{project}/asset/0", {"zero": b"0"}, ALICE)
    payload = naming(project, service.stage(TREE, BOB))
    service.refuse("upload", payload, "source", status=403, user=ALICE)


@pytest.mark.usefixtures("accounts")
def test_an_administrator_too_must_own_the_source(service: Service, project: str) -> None:
    payload = naming(project, service.stage(TREE, BOB))
    service.refuse("upload", payload, "source", status=403)


def test_consume_removes_what_was_published(service: Service, project: str) -> None:
    payload = service.upload_of(f"{project}/asset/1", TREE, consume=True)
    service.succeed("upload", payload)
    assert content_of(service.registry / project / "asset/1") == TREE
    assert content_of(service.staging / payload["source"]) == {}


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o777])
def test_consume_publishes_files_that_all_can_read(
    service: Service, project: str, mode: int
) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a", "d/b": b"b"}, consume=True)
    source = service.staging / payload["source"]
    for path in ("a", "d/b"):
        (source / path).chmod(mode)
    service.succeed("upload", payload)
    for path in ("a", "d/b"):
        published = service.registry / project / "asset/1" / path
        assert oct(published.stat().st_mode & 0o7777) == oct(0o644)


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("consume", [True, False])
def test_what_is_published_belongs_to_the_service(service: Service, consume: bool) -> None:
    project = service.new_project(owners=[ALICE])
    tree = {**TREE, "link": Symlink("readme.md"), "empty": None}
    service.upload(f"{project}/asset/1", tree, ALICE, consume=consume)
    version = service.registry / project / "asset/1"
    expected = (version / "..manifest").stat().st_uid
    assert {path.lstat().st_uid for path in [version, *version.rglob("*")]} == {expected}


@pytest.mark.usefixtures("accounts")
def test_consume_removes_the_files_of_other_accounts_too(service: Service) -> None:
    project = service.new_project(owners=[ALICE])
    payload = service.upload_of(f"{project}/asset/1", TREE, ALICE, consume=True)
    service.succeed("upload", payload, ALICE)
    assert content_of(service.registry / project / "asset/1") == TREE
    assert content_of(service.staging / payload["source"]) == {}


@pytest.mark.beyond
def test_consume_leaves_no_other_name_to_change_the_version_by(
    service: Service, project: str
) -> None:
    payload = service.upload_of(f"{project}/asset/1", {"a": b"published"}, consume=True)
    other = service.staging / service.unique()
    os.link(service.staging / payload["source"] / "a", other)
    service.succeed("upload", payload)
    other.write_bytes(b"changed!!")
    assert (service.registry / project / "asset/1/a").read_bytes() == b"published"


def test_consume_keeps_links_within_the_source_whole(service: Service, project: str) -> None:
    tree = {"a": b"real", "b": Symlink("a"), "d/c": Symlink("../b")}
    service.upload(f"{project}/asset/1", tree, consume=True)
    version = service.registry / project / "asset/1"
    assert [(version / path).read_bytes() for path in ("a", "b", "d/c")] == [b"real"] * 3


@pytest.mark.beyond
@pytest.mark.parametrize("bad", ["link", "fifo", "version"])
def test_consume_leaves_the_source_complete_when_the_upload_is_refused(
    service: Service, project: str, bad: str
) -> None:
    version = "0" if bad == "version" else "1"
    payload = service.upload_of(f"{project}/asset/{version}", TREE, consume=True)
    source = service.staging / payload["source"]
    if bad == "link":
        (source / "zzz").symlink_to("missing")
    elif bad == "fifo":
        os.mkfifo(source / "zzz")
    service.refuse("upload", payload, status=400)
    assert content_of(source) == TREE
    for path in content_of(source):
        assert oct((source / path).stat().st_mode & 0o7777) == oct(0o644)


@pytest.mark.beyond
@pytest.mark.usefixtures("accounts")
def test_consume_leaves_the_source_complete_when_it_is_not_allowed(
    service: Service, project: str
) -> None:
    payload = service.upload_of(f"{project}/asset/1", TREE, ALICE, consume=True)
    service.refuse("upload", payload, ALICE, status=403, user=ALICE)
    assert content_of(service.staging / payload["source"]) == TREE


@pytest.mark.beyond
@pytest.mark.usefixtures("accounts")
def test_a_hard_link_to_a_file_of_somebody_else_is_refused(service: Service) -> None:
    project = service.new_project(owners=[BOB])
    service.upload(f"{project}/asset/0", {"zero": b"0"}, BOB)
    theirs = service.staging / service.unique()
    build(theirs, {"private": b"secret"}, ALICE)
    payload = service.upload_of(f"{project}/asset/1", {"d/mine": b"mine"}, BOB)
    os.link(theirs / "private", service.staging / payload["source"] / "d/stolen")
    service.refuse("upload", payload, "d/stolen", status=400, user=BOB)


@pytest.mark.usefixtures("accounts")
def test_a_source_can_be_given_to_another_account_and_uploaded_by_it(service: Service) -> None:
    project = service.new_project(owners=[BOB])
    payload = service.upload_of(f"{project}/asset/1", {"a": b"a"}, ALICE)
    give(service.staging / payload["source"], BOB)
    service.succeed("upload", payload, BOB)
    assert service.read(f"{project}/asset/1/..manifest") == {"a": plain(b"a")}
