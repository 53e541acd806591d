"""Uploads: planned before, and compared afterwards with the files that were sent."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.connection import Connection
from gobbler.client.handle import names_of
from gobbler.client.notices import StepFailed
from gobbler.errors import Fault, Missing, Refused
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry
from gobbler.rules.links import OUTSIDE


@pytest.fixture
def asset(client: Client, project: str, source: Path) -> tuple[str, str]:
    """An asset with a first version."""
    client.upload(project, "a", "1", source)
    return project, "a"


def test_a_plan_reports_what_comes_to_pass(
    client: Client, asset: tuple[str, str], source: Path
) -> None:
    (source / "new").write_text("new")
    (source / "renamed").write_text("BAR")  # as foo
    (source / "foo").write_text("CHANGED")
    (source / ".hidden").write_text("taken")
    (source / "empty").mkdir()
    (source / "near").symlink_to("whee/blah")
    (source / "far").symlink_to(Path(client.registry, *asset, "1", "whee2"))
    plan = client.plan_upload(*asset, "2", source)
    assert names_of(client.asset(*asset).versions()) == ["1"]
    client.upload(*asset, "2", source)
    manifest = client.version(*asset, "2").manifest()
    files = {path: entry for path, entry in manifest.items() if not entry.is_directory}
    assert plan.stored == {path: e.size for path, e in files.items() if e.link is None}
    links = {path: e.link for path, e in files.items() if e.link is not None}
    assert plan.linked == {path: f"{to.key.path}/{to.path}" for path, to in links.items()}
    assert plan.empty == [path for path, entry in manifest.items() if entry.is_directory]
    assert (plan.undecided, plan.bytes) == ({}, len("newCHANGEDtaken"))
    assert {"foo", "new", ".hidden"} == set(plan.stored)


def test_a_link_to_a_file_that_is_called_as_the_problem_is_no_problem(
    client: Client, asset: tuple[str, str], source: Path
) -> None:
    (source / OUTSIDE.problem).write_text("new")
    (source / "link").symlink_to(OUTSIDE.problem)
    plan = client.plan_upload(*asset, "2", source)
    assert plan.undecided == {}
    assert "link" in plan.linked


def test_what_would_be_refused_is_refused(
    client: Client, asset: tuple[str, str], source: Path
) -> None:
    with pytest.raises(Refused, match="already exists"):
        client.plan_upload(*asset, "1", source)
    with pytest.raises(Missing, match="does not exist"):
        client.plan_upload("no-such-project", "a", "1", source)
    with pytest.raises(Missing, match="does not exist"):
        client.plan_upload(*asset, "2", source / "nowhere")
    (source / "out").symlink_to("/etc/passwd")
    assert client.plan_upload(*asset, "2", source).undecided == {"out": "/etc/passwd"}
    (source / "lost").symlink_to("gone")
    (source / "fifo\n").write_text("")
    with pytest.raises(Refused, match="control character"):
        client.plan_upload(*asset, "2", source)
    (source / "fifo\n").unlink()
    with pytest.raises(Refused, match='"lost" can\'t be published'):
        client.plan_upload(*asset, "2", source)


def test_another_staging_directory_is_reported(
    service, project: str, source: Path, tmp_path: Path
) -> None:
    other = Client(service.url, staging=tmp_path, registry=service.registry)
    with pytest.raises(Refused, match="is not the staging directory of http") as caught:
        other.upload(project, "a", "1", source)
    assert "GOBBLER_STAGING" in caught.value.hint
    assert os.listdir(tmp_path) == ["source"]


def test_the_command_reports_the_plan(
    run, client: Client, asset: tuple[str, str], source: Path
) -> None:
    (source / "new").write_text("new")
    address = "/".join([*asset, "2"])
    code, out, err = run("upload", "--dry-run", source, address, "--json")
    assert (code, json.loads(out)["stored"]) == (0, {"new": 3})
    code, out, err = run("upload", "--dry-run", source, address)
    assert code == 0
    assert "store\tnew\t3" in out.splitlines()
    assert "would store 1 file (" in err
    assert names_of(client.asset(*asset).versions()) == ["1"]
    assert run("upload", "--dry-run", source, "/".join([*asset, "1"]))[0] == Refused.exit_code


@pytest.mark.parametrize("found", ["another", "none", "unreadable"])
def test_what_was_published_is_compared_with_what_was_sent(
    client: Client, project: str, source: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    real = client._reader.manifest

    def manifest(key: VersionKey, *, overwrite: bool) -> dict[str, Entry]:
        if found == "unreadable":
            raise Missing("it went")
        reported = real(key, overwrite=overwrite)
        if found == "none":
            del reported["foo"]
        else:
            reported["foo"] = Entry(3, "0" * 32)
        return reported

    monkeypatch.setattr(client._reader, "manifest", manifest)
    if found == "unreadable":  # the upload itself has succeeded
        with pytest.warns(StepFailed, match="is published, but it could not be compared.*it went"):
            client.upload(project, "a", "1", source)
    else:
        with pytest.raises(Fault, match='"foo" is not the file that'):
            client.upload(project, "a", "1", source)
    assert os.path.isdir(client.registry + "/" + VersionKey(project, "a", "1").path)


@pytest.mark.parametrize("user_may_read", [True, False])
def test_a_file_that_changes_while_the_service_is_at_it_is_published_as_it_was_copied(
    client: Client,
    project: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    user_may_read: bool,
) -> None:
    (source / "large").write_bytes(b"1" * (9 << 20))
    real = client.connection.request

    def request(action: str, **fields: object) -> dict[str, object]:
        if action == "upload":
            for name in ("foo", "large"):
                (source / name).write_text("CHANGED")
        return real(action, **fields)

    monkeypatch.setattr(client.connection, "request", request)
    if not user_may_read:
        monkeypatch.setattr(Connection, "can_read", False)
    client.upload(project, "a", "1", source)
    published = Path(client.registry, project, "a", "1")
    assert (published / "large").stat().st_size == 9 << 20
    assert (published / "foo").read_text() == "BAR"


def test_a_checksum_that_can_not_be_computed_is_reported_with_what_was_done(
    client: Client, project: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "large").write_bytes(b"1" * (9 << 20))

    def failing(*arguments: object) -> tuple[int, str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("gobbler.client.checksums.hash_file", failing)
    with pytest.warns(StepFailed, match=r"could not be compared .*Input/output error"):
        client.upload(project, "a", "1", source)
    assert names_of(client.asset(project, "a").versions()) == ["1"]


def test_what_was_published_is_not_the_users_own_file(
    client: Client, project: str, source: Path
) -> None:
    before = {path: path.stat() for path in source.rglob("*") if path.is_file()}
    client.upload(project, "a", "1", source)
    for path, status in before.items():
        published = Path(client.registry, project, "a", "1", path.relative_to(source))
        assert published.read_bytes() == path.read_bytes()
        assert not published.samefile(path)
        after = path.stat()
        assert (after.st_ino, after.st_mode, after.st_nlink) == (
            status.st_ino,
            status.st_mode,
            1,
        )
    (source / "foo").write_text("CHANGED AFTERWARDS")
    client.admin.validate_version(project, "a", "1")
