"""The cache notices that a version was deleted, or published anew; and works without a service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import fsspec
import pytest

import pygobbler
from gobbler.client import Client
from gobbler.client.address import digest
from gobbler.client.cache.comparison import GONE, REPLACED
from gobbler.client.errors import NoAnswer
from gobbler.client.notices import Unvalidated
from gobbler.errors import Code, GobblerError, Missing

from .counting_proxy import CountingProxy
from .processes import wait_for

FILES = {f"d/f{i}": f"content {i}" for i in range(12)} | {"foo": "BAR", "large": "x" * (2 << 20)}


@pytest.fixture
def proxy(service) -> Iterator[CountingProxy]:
    with CountingProxy(service.url) as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    for path, content in FILES.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(content)
    return made


@pytest.fixture
def published(client, project, tree) -> str:
    """The address of a final version."""
    client.upload(project, "a", "1", tree)
    return f"{project}/a/1"


@pytest.fixture
def republish(client, published, tree):
    def republish(foo: str) -> None:
        project, asset, version = published.split("/")
        client.admin.delete_version(project, asset, version)
        (tree / "foo").write_text(foo)
        client.upload(project, asset, version, tree)

    return republish


@pytest.fixture
def far(proxy, tmp_path):
    """A new client, as in a new process, with the same cache."""

    def far(**options: object) -> Client:
        return Client(proxy.url, cache=tmp_path / "cache", force_remote=True, **options)

    return far


def opened(file: TextIO) -> str:
    with file:
        return file.read()


READS = {
    "fetch": lambda client, at: (client.version(at).fetch() / "foo").read_text(),
    "fetch a file": lambda client, at: client.version(at).fetch("foo").read_text(),
    "fetch_directory": lambda client, at: Path(client.fetch_directory(at), "foo").read_text(),
    "fetch_file": lambda client, at: Path(client.fetch_file(f"{at}/foo")).read_text(),
    "open": lambda client, at: opened(client.version(at).open("foo")),
    "read_text": lambda client, at: (client.version(at) / "foo").read_text(),
    "manifest": lambda client, at: client.version(at).manifest()["foo"].size,
    "pygobbler": lambda client, at: Path(
        pygobbler.fetch_directory(
            at, "/none", client.url, str(client.cache.path), force_remote=True
        ),
        "foo",
    ).read_text(),
    "pygobbler manifest": lambda client, at: pygobbler.fetch_manifest(
        *at.split("/"), "/none", client.url, str(client.cache.path), force_remote=True
    )["foo"]["size"],
    "fsspec": lambda client, at: (
        fsspec.filesystem(
            "gobbler",
            service=client.url,
            cache=str(client.cache.path),
            force_remote=True,
            skip_instance_cache=True,
        )
        .cat_file(f"{at}/foo")
        .decode()
    ),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("same_client", [True, False])
def test_what_was_published_anew_is_noticed(far, published, republish, how, same_client):
    read, client = READS[how], far()
    assert read(client, published) in ("BAR", 3)
    # An answer counts for as long as it took to get, so a slow machine notices a little later.
    for content in ("new, and longer", "bar"):
        republish(content)
        expected = (content, len(content))
        wait_for(
            "it is noticed",
            lambda expected=expected: read(client if same_client else far(), published) in expected,
        )


@pytest.fixture
def without_window(monkeypatch):
    """An answer counts only for the call that asked, however long it took."""
    monkeypatch.setattr("gobbler.client.cache.records.LONGEST_WINDOW", 0.0)


@pytest.mark.parametrize("how", READS)
def test_what_was_deleted_is_noticed(far, published, client, how, without_window):
    reader = far()
    READS[how](reader, published)
    client.admin.delete_version(*published.split("/"))
    for each in (reader, far()):
        with pytest.raises((Missing, FileNotFoundError)):
            READS[how](each, published)


def test_a_summary_that_changed(far, client, project, tree, without_window):
    client.upload(project, "a", "beta", tree, probation=True)
    reader = far()
    version = reader.version(project, "a", "beta")
    assert version.summary().on_probation
    assert version.fetch("foo").read_text() == "BAR"
    client.version(project, "a", "beta").approve()
    assert not version.summary().on_probation
    assert not far().version(project, "a", "beta").summary().on_probation


def test_what_is_the_same_is_not_sent_again(far, published, proxy, republish, tree):
    far().fetch_directory(published)
    sent = proxy.sent
    proxy.seen.clear()
    assert Path(far().fetch_directory(published), "foo").read_text() == "BAR"
    assert proxy.seen == [(f"/fetch/{published}/..manifest", 304)]
    assert proxy.sent == sent
    republish("new")
    proxy.seen.clear()
    assert Path(far().fetch_directory(published), "foo").read_text() == "new"
    # What both versions contain comes from the cache.
    assert proxy.sent - sent < 2 << 20 or proxy.count("/archive/") == 1
    assert proxy.count(f"{published}/large") == 0


def test_a_directory_above_versions(far, client, published, project, tree):
    assert Path(far().fetch_directory(f"{project}/a"), "1", "foo").read_text() == "BAR"
    (tree / "foo").write_text("second")
    client.upload(project, "a", "2", tree)
    again = far().fetch_directory(f"{project}/a")
    assert Path(again, "2", "foo").read_text() == "second"
    client.admin.delete_asset(project, "a")
    with pytest.raises(Missing):
        far().fetch_directory(f"{project}/a")


def test_an_outage(far, published, proxy, monkeypatch):
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)
    before = far().fetch_directory(published)
    proxy.is_down.set()
    reader = far()
    with pytest.warns(Unvalidated, match="using what the cache has"):
        assert reader.fetch_directory(published) == before
    # It is told once: another warning would be an error here.
    assert Path(reader.fetch_file(f"{published}/foo")).read_text() == "BAR"
    with reader.version(published).open("d/f1") as file:
        assert file.read() == "content 1"
    with pytest.raises(NoAnswer):
        reader.fetch_directory("never/fetched/1")
    proxy.is_down.clear()


def test_offline(far, published, proxy, monkeypatch):
    before = far().fetch_directory(published)
    proxy.seen.clear()
    reader = far(offline=True)
    assert reader.fetch_directory(published) == before
    for call in (
        lambda: reader.fetch_directory("never/fetched/1"),
        reader.projects,
    ):
        with pytest.raises(GobblerError) as caught:
            call()
        assert caught.value.code == Code.OFFLINE
    monkeypatch.setenv("GOBBLER_OFFLINE", "1")
    assert far().fetch_directory(published) == before
    assert proxy.seen == []


def test_on_the_command_line(run, published, republish, client, tmp_path, service):
    at = f"{published}/foo"
    assert run("cat", at, "--remote")[1] == "BAR"
    place = Path(run("fetch", published, "--remote")[1].strip())
    republish("new")
    assert run("cat", at, "--remote")[1] == "new"
    assert Path(run("fetch", published, "--remote")[1].strip(), "foo").read_text() == "new"
    assert run("fetch", published, "--remote", "--offline") == (0, f"{place}\n", "")
    client.admin.delete_version(*published.split("/"))
    for words in (("cat", at), ("fetch", published), ("fetch", at)):
        code, out, err = run(*words, "--remote")
        assert (code, out) == (5, "")
        assert published in err
        code, out, err = run(*words, "--remote", "--json") if words[0] == "fetch" else (5, "", "")
        assert code == 5
    assert run("fetch", published, "--remote", "--offline") == (0, f"{place}\n", "")
    code, _, err = run("fetch", "no/such/1", "--offline")
    assert code == 6
    assert "--offline" in err


def test_verification_notices_it_too(far, published, republish, client, proxy, monkeypatch):
    def addresses() -> set[tuple[str, str]]:
        return {(each.entry.path, each.problem) for each in far().cache.verify()}

    far().fetch_directory(published)
    far().fetch_file(f"{published}/foo")
    proxy.seen.clear()
    assert addresses() == set()
    assert proxy.seen == [(f"/fetch/{published}/..manifest", 304)]
    republish("new")
    both = {published, f"{published}/foo", f"{published}/..manifest"}
    assert addresses() == {(path, REPLACED) for path in both}
    assert [*far(offline=True).cache.verify()] == []
    far().cache.remove(*(each.entry for each in far().cache.verify()))
    assert far().cache.entries() == []
    assert list(Path(far().cache).glob("*/validators/*")) == []
    far().fetch_directory(published)
    client.admin.delete_version(*published.split("/"))
    assert addresses() == {(path, GONE) for path in both - {f"{published}/foo"}}
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)
    proxy.is_down.set()
    with pytest.warns(Unvalidated, match="not compared"):
        assert addresses() == set()


def test_damage_in_the_cache_is_repaired(far, published, tmp_path):
    reader = far()
    reader.fetch_file(f"{published}/foo")
    (manifest,) = (tmp_path / "cache").glob(f"*/files/{published}/..manifest")
    status = manifest.stat()
    manifest.chmod(0o644)
    manifest.write_bytes(b"x" * status.st_size)
    os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Path(far().fetch_file(f"{published}/foo")).read_text() == "BAR"
    assert far().version(published).manifest()["foo"].size == 3
    shutil.rmtree(tmp_path / "cache")
    assert Path(reader.fetch_file(f"{published}/foo")).read_text() == "BAR"


TASK = """
import sys
from gobbler.client import Client
url, cache, at, kind = sys.argv[1:]
client = Client(url, cache=cache, force_remote=True)
sys.stdin.readline()
print(client.fetch_directory(at) if kind == "directory" else client.fetch_file(f"{at}/{kind}"))
"""


def start_task(*words: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TASK, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


TASKS = """
import os, sys
from gobbler.client import Client
url, cache, at, kind, number = sys.argv[1:]
for _ in range(int(number)):
    if os.fork() == 0:
        break
else:
    ended = [os.wait()[1] for _ in range(int(number))]
    sys.exit(any(ended))
client = Client(url, cache=cache, force_remote=True)
found = client.fetch_directory(at) if kind == "directory" else client.fetch_file(f"{at}/{kind}")
os.write(1, f"{found}\\n".encode())  # at once: eight write here
"""


@pytest.mark.parametrize("kind", ["directory", "foo", "large"])
def test_eight_tasks_fetch_it_once(published, proxy, tmp_path, kind):
    words = [proxy.url, str(tmp_path / "cache"), published, kind, "8"]
    command = [sys.executable, "-c", TASKS, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    found = done.stdout.splitlines()
    assert (len(found), set(found)) == (8, {found[0]})
    assert proxy.count("..manifest") == 1
    if kind == "directory":
        assert proxy.count("/archive/") == 1
    else:
        assert proxy.count(f"{published}/{kind}") == 1
    assert list((tmp_path / "cache").glob("*/temp/*")) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from gobbler.client.address import digest
from gobbler.client.cache.partial import single_flight
root, at, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
root.mkdir(parents=True, exist_ok=True)
with single_flight(root, digest(at) + "-tree", at, lambda: False) as scratch:
    print("here", flush=True)
    os.kill(os.getpid(), signal.SIGKILL if how == "killed" else signal.SIGSTOP)
"""


@pytest.mark.parametrize("how", ["killed", "stopped", "never locked"])
def test_nobody_waits_for_the_dead(far, published, tmp_path, how, monkeypatch):
    monkeypatch.setattr("gobbler.client.cache.partial.SILENT_SECONDS", 0.3)
    monkeypatch.setattr("gobbler.client.cache.partial.UNLOCKED_SECONDS", 0.1)
    reader = far()
    root = Path(reader.connection.cache._root)
    if how == "never locked":
        (root / "temp" / f"{digest(published)}-tree").mkdir(parents=True)
        assert Path(reader.fetch_directory(published), "foo").read_text() == "BAR"
        return
    holder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), published, how], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"here\n"
        assert Path(reader.fetch_directory(published), "foo").read_text() == "BAR"
    finally:
        holder.kill()
        holder.communicate()


def test_a_task_goes_on_where_another_failed(far, published, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)
    far().version(published).manifest()
    proxy.is_down.set()
    with pytest.warns(Unvalidated), pytest.raises(NoAnswer):
        far().fetch_directory(published)
    proxy.is_down.clear()
    assert json.loads(Path(far().fetch_directory(published), "..manifest").read_bytes())
