"""The changing calls of pygobbler against the real service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import pygobbler as pyg
from gobbler.client import Client
from gobbler.client.notices import LeftOut
from gobbler.client.testing import TestService
from gobbler.errors import GobblerError
from gobbler.model.progress import NoProgress

pytestmark = pytest.mark.usefixtures("nothing_left_in_staging")


def manifest(service: TestService, project: str, asset: str, version: str):
    return pyg.fetch_manifest(project, asset, version, service.registry, service.url)


def upload(service: TestService, project: str, asset: str, version: str, source, **options):
    pyg.upload_directory(
        project,
        asset,
        version,
        str(source),
        staging=service.staging,
        url=service.url,
        **options,
    )


def test_create_project(service):
    uploaders = [{"id": "lawremi"}, {"id": "Pete", "until": "2999-01-01T00:00:00Z"}]
    pyg.create_project(
        "test-create", service.staging, service.url, owners=["LTLA"], uploaders=uploaders
    )
    got = pyg.fetch_permissions("test-create", service.registry, service.url)
    assert got == {"owners": ["LTLA"], "uploaders": uploaders}
    with pytest.raises(requests.HTTPError, match="exists"):
        pyg.create_project("test-create", service.staging, service.url)


def test_a_refusal_of_the_service_is_its_own_words(service):
    with pytest.raises(requests.HTTPError) as caught:
        pyg.create_project("a/b", service.staging, service.url)
    assert "a/b" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("concurrent", [1, 3])
def test_upload_from_anywhere(service, project, source, concurrent):
    upload(service, project, "a", "1", source, concurrent=concurrent)
    got = manifest(service, project, "a", "1")
    assert sorted(got) == ["chihaya/kisaragi", "foo", "whee/blah", "whee2"]
    assert (source / "foo").read_text() == "BAR"
    published = Path(service.registry, project, "a", "1", "foo")
    assert published.read_text() == "BAR"
    upload(service, project, "a", "2", source)
    assert "link" in manifest(service, project, "a", "2")["foo"]


def test_links_within_the_source(service, project, tmp_path):
    source = tmp_path / "linked"
    (source / "foo").mkdir(parents=True)
    (source / "blah.txt").write_text("motto motto")
    (source / "whee.txt").symlink_to("blah.txt")
    (source / "foo" / "bar.txt").symlink_to("../whee.txt")
    (source / "foo" / "absolute").symlink_to(source / "blah.txt")
    upload(service, project, "a", "1", source)
    got = manifest(service, project, "a", "1")
    assert {name for name, entry in got.items() if "link" in entry} == {
        "whee.txt",
        "foo/bar.txt",
        "foo/absolute",
    }
    assert {entry["size"] for entry in got.values()} == {11}


def test_a_relative_link_into_the_registry_keeps_its_meaning(service, project, source, tmp_path):
    upload(service, project, "a", "1", source)
    other = tmp_path / "other"
    other.mkdir()
    target = Path(service.registry, project, "a", "1", "foo")
    (other / "relative").symlink_to(os.path.relpath(target, other))
    (other / "absolute").symlink_to(target)
    upload(service, project, "b", "1", other)
    for entry in manifest(service, project, "b", "1").values():
        assert entry["link"] == {"project": project, "asset": "a", "version": "1", "path": "foo"}


@pytest.mark.parametrize("target", ["whee", "nothing", "/etc/passwd", "../.."])
def test_other_links_are_refused_by_name(service, project, source, target):
    (source / "bad-link").symlink_to(target)
    with pytest.raises(requests.HTTPError, match="bad-link"):
        upload(service, project, "a", "1", source)
    assert not Path(service.registry, project, "a", "1").exists()


def test_in_staging(service, project):
    directory = Path(pyg.allocate_upload_directory(service.staging))
    (directory / "blah").write_text("A B C")
    upload(service, project, "a", "1", directory)
    assert (directory / "blah").exists()
    upload(service, project, "b", "1", directory, consume=False)
    assert (directory / "blah").exists()
    upload(service, project, "c", "1", directory, consume=True)
    assert not (directory / "blah").exists()
    assert list(manifest(service, project, "c", "1")) == ["blah"]
    directory.rmdir()


def test_dots(service, project, source):
    (source / ".hidden").mkdir()
    (source / ".hidden" / "x").write_text("")
    with pytest.warns(LeftOut, match='leaves out 1 name that starts with a dot: ".hidden"'):
        upload(service, project, "a", "1", source)
    assert ".hidden/x" not in manifest(service, project, "a", "1")
    upload(service, project, "a", "2", source, ignore_dot=False)
    assert ".hidden/x" in manifest(service, project, "a", "2")


def test_probation(service, project, source):
    upload(service, project, "a", "1", source, probation=True)
    summary = pyg.fetch_summary(project, "a", "1", service.registry, service.url)
    assert summary["on_probation"] is True
    assert pyg.fetch_latest(project, "a", service.registry, service.url) is None


def test_errors_leave_nothing(service, project, source):
    for bad in (
        {"project": "missing"},
        {"version": "..bad"},
        {"spoof": "somebody"},
    ):
        arguments = {"project": project, "asset": "a", "version": "1"} | bad
        with pytest.raises(requests.HTTPError):
            upload(service, source=source, **arguments)
    assert pyg.list_assets(project, service.registry, service.url) == []


def test_interrupted_while_copying(client, project, source):
    class Interrupting(NoProgress):
        def advance(self, files, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(project, "a", "1", source, progress=Interrupting())


def test_no_service(service, source):
    with pytest.raises(requests.ConnectionError):
        pyg.upload_directory("p", "a", "1", str(source), service.staging, "http://127.0.0.1:1")


def test_large_files_go_through_in_pieces(client, remote, project, tmp_path):
    source = tmp_path / "large"
    source.mkdir()
    with (source / "big").open("wb") as file:
        for i in range(40):
            file.write(bytes([i]) * 1_000_003)
    client.upload(project, "a", "1", source)
    got = Path(remote.fetch_file(f"{project}/a/1/big"))
    assert got.read_bytes() == (source / "big").read_bytes()


def test_start_and_stop(tmp_path):
    """In an interpreter of its own, since there is one such service for each."""
    code = """
import os, stat, requests
import pygobbler as pyg
pyg.stop_gobbler()
new, staging, registry, url = pyg.start_gobbler(port=None, extra_args=["-concurrency", "2"])
assert new
assert stat.S_IMODE(os.stat(staging).st_mode) == 0o1733
assert pyg.service_info(url) == {"staging": staging, "registry": registry}
assert pyg.start_gobbler() == (False, staging, registry, url)
pyg.create_project("p", staging, url)
pyg.stop_gobbler()
pyg.stop_gobbler()
assert not os.path.exists(staging) and not os.path.exists(registry)
try:
    pyg.service_info(url)
except requests.ConnectionError:
    pass
else:
    raise AssertionError("it still answers")
new, *_, url = pyg.start_gobbler(staging="s", registry="r", admin=[])
assert new
try:
    pyg.create_project("p", "s", url)
except requests.HTTPError as error:
    print(error.exit_code, url)
# It ends with the interpreter.
"""
    (tmp_path / "s").mkdir()
    (tmp_path / "r").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.stderr == ""
    assert sorted(os.listdir(tmp_path)) == ["r", "s"]
    exit_code, url = done.stdout.split()
    assert exit_code == "4"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            pyg.service_info(url)
        except requests.ConnectionError:
            return
        time.sleep(0.1)
    raise AssertionError("it outlived the interpreter")


def test_what_does_not_come_up_says_why(tmp_path, service):
    with pytest.raises(GobblerError, match="nowhere"):
        TestService(tmp_path / "nowhere", tmp_path)
    with pytest.raises(GobblerError, match="--nonsense"):
        TestService(extra_args=["--nonsense"])
    with pytest.raises(GobblerError, match=str(service.port)):
        TestService(port=service.port)


def test_a_prefix(tmp_path):
    running = TestService(extra_args=["-prefix", "some/where"])
    try:
        assert Client(running.url + "/some/where").info().staging == running.staging
    finally:
        running.stop()
