"""Downloads: complete or absent, and only once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.cache import placement
from gobbler.client.cache.partial import ABANDONED_SECONDS
from gobbler.client.errors import NoAnswer
from gobbler.errors import Fault, GobblerError, Missing, Refused

TREE = {
    "a": b"1",
    "sub/b": b"22",
    "..manifest": b"{}",
    "..summary": b"{}",
    "sub/c d": b"x" * 100_000,
}
LIST = "/list?path=p%2Fa%2Fv&recursive=true"


@pytest.fixture
def version(web):
    web.put(LIST, json.dumps([*TREE, "empty/inner/"]))
    for name, content in TREE.items():
        web.put(f"/fetch/p/a/v/{name.replace(' ', '%20')}", content)
    return web


@pytest.fixture
def client(web, tmp_path):
    return Client(web.url, cache=tmp_path / "cache", force_remote=True)


def everything(directory: str | Path) -> dict[str, bytes | None]:
    """Content by relative path; None for a directory."""
    root = Path(directory)
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


WHOLE = {**TREE, "sub": None, "empty": None, "empty/inner": None}


@pytest.mark.parametrize("concurrent", [1, 4])
def test_a_directory_is_fetched_once(version, client, tmp_path, concurrent):
    path = client.fetch_directory("p/a/v", concurrent=concurrent)
    assert path.startswith(str(tmp_path / "cache"))
    assert path.endswith("/p/a/v")
    assert everything(path) == WHOLE
    version.seen.clear()
    (Path(path) / "a").write_bytes(b"changed")
    assert client.fetch_directory("p/a/v/") == path
    assert set(version.seen) <= {"/fetch/p/a/v/..manifest"}
    assert (Path(path) / "a").read_bytes() == b"changed"
    assert client.fetch_directory("p/a/v", overwrite=True) == path
    assert everything(path) == WHOLE
    assert list((tmp_path / "cache").glob("*/temp/*")) == []


@pytest.mark.parametrize("concurrent", [1, 4])
def test_after_a_failure_there_is_nothing(version, client, tmp_path, concurrent):
    version.answers["/fetch/p/a/v/sub/b"].promised = 10
    with pytest.raises(NoAnswer):
        client.fetch_directory("p/a/v", concurrent=concurrent)
    assert {p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()} <= {"..manifest"}
    version.answers["/fetch/p/a/v/sub/b"].promised = None
    assert everything(client.fetch_directory("p/a/v")) == WHOLE


def test_the_old_copy_stays_until_the_new_one_is_whole(version, client):
    path = client.fetch_directory("p/a/v")
    del version.answers["/fetch/p/a/v/sub/b"]
    with pytest.raises(Missing):
        client.fetch_directory("p/a/v", overwrite=True)
    assert everything(path) == WHOLE


@pytest.mark.parametrize("concurrent", [1, 4])
def test_an_interruption_leaves_nothing(version, client, tmp_path, concurrent):
    class Interrupting:
        def expect(self, files, size):
            pass

        def advance(self, files, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.fetch_directory("p/a/v", concurrent=concurrent, progress=Interrupting())
    assert {p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()} <= {"..manifest"}
    assert list((tmp_path / "cache").glob("*/temp/*")) == []


@pytest.mark.parametrize(
    "bad", ["../../x", "/etc/x", "a//b", "./a", "a/..", "a/../../x/", "", "/", "x\0y"]
)
def test_a_listing_that_leaves_the_directory_is_refused(web, client, tmp_path, bad):
    web.put(LIST, json.dumps(["a", bad]))
    web.put("/fetch/p/a/v/a", b"1")
    with pytest.raises(Fault, match="would leave"):
        client.fetch_directory("p/a/v")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("bad", ["", "/", "../x", "a/../../x", "/etc/passwd", "p//a", "."])
def test_a_path_that_leaves_the_registry_is_refused(web, client, tmp_path, bad):
    (tmp_path / "registry").mkdir()
    local = Client(registry=tmp_path / "registry")
    for each in (client, local):
        for fetch in (each.fetch_file, each.fetch_directory):
            with pytest.raises(Refused):
                fetch(bad)
    assert web.seen == []


def test_a_part_and_the_whole_do_not_mix(version, client):
    version.put("/list?path=p%2Fa%2Fv%2Fsub&recursive=true", '["b", "c d"]')
    part = client.fetch_directory("p/a/v/sub")
    assert everything(part) == {"b": b"22", "c d": TREE["sub/c d"]}
    assert everything(client.fetch_directory("p/a/v")) == WHOLE


def test_an_empty_directory_is_a_directory(web, client):
    listed = LIST.replace("p%2Fa%2Fv", "p%2Fa%2Fv%2Fd")
    web.put(listed, "[]")
    assert everything(client.fetch_directory("p/a/v/d")) == {}
    assert client.fetch_directory("p/a/v/d")
    assert set(web.seen) == {"/fetch/p/a/v/..manifest", listed}


def test_a_file_is_fetched_once(version, client, tmp_path):
    content = TREE["sub/c d"]
    listed = {"size": len(content), "md5sum": hashlib.md5(content).hexdigest()}
    version.put("/fetch/p/a/v/..manifest", json.dumps({"sub/c d": listed}))
    path = client.fetch_file("p/a/v/sub/c d")
    assert path.startswith(str(tmp_path / "cache"))
    assert path.endswith("/p/a/v/sub/c d")
    assert client.fetch_file("p/a/v/sub/c d") == path
    assert version.seen.count("/fetch/p/a/v/sub/c%20d") == 1
    Path(path).unlink()
    Path(path).write_bytes(b"changed")
    client.fetch_file("p/a/v/sub/c d")
    assert Path(path).read_bytes() == content
    client.fetch_file("p/a/v/sub/c d", overwrite=True)
    assert Path(path).read_bytes() == content


def test_a_file_that_breaks_off_is_not_there(version, client, tmp_path):
    version.answers["/fetch/p/a/v/a"].promised = 10
    with pytest.raises(NoAnswer):
        client.fetch_file("p/a/v/a")
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == ["..manifest"]


def test_services_do_not_share(version, client, tmp_path):
    client.fetch_file("p/a/v/a")
    other = Client("http://127.0.0.1:1", cache=tmp_path / "cache", force_remote=True)
    with pytest.raises(NoAnswer):
        other.fetch_file("p/a/v/a")


def test_the_path_begins_as_the_cache_was_written(version, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    client = Client(version.url, cache="./here/../there", force_remote=True)
    assert client.fetch_file("p/a/v/a").startswith("./here/../there/")
    assert client.fetch_directory("p/a/v").startswith("./here/../there/")


def test_many_fetch_the_same(version, client):
    def fetch(i):
        return client.fetch_directory("p/a/v", concurrent=2, overwrite=i % 3 == 0)

    with ThreadPoolExecutor(12) as pool:
        (path,) = set(pool.map(fetch, range(12)))
    assert everything(path) == WHOLE


def test_many_put_the_same_in_place(tmp_path):
    def put(i):
        for attempt in range(60):
            new = tmp_path / f"{i}-{attempt}" / "new"
            (new / "p" / "a").mkdir(parents=True)
            (new / "p" / "a" / "file").write_text("whole")
            placement.put_tree(
                new, tmp_path / "tree", lambda: i % 3 and (tmp_path / "tree/p/a").is_dir()
            )

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(put, range(6)))
    assert everything(tmp_path / "tree") == {"p": None, "p/a": None, "p/a/file": b"whole"}


def test_what_was_left_by_the_dead_goes_away(version, client, tmp_path):
    client.fetch_file("p/a/v/a")
    (temp,) = (tmp_path / "cache").glob("*/temp")
    old, young = temp / "old", temp / "young"
    for directory in (old, young):
        directory.mkdir()
        (directory / "half").write_text("")
    before = time.time() - ABANDONED_SECONDS - 10
    os.utime(old, (before, before))
    client.fetch_file("p/a/v/sub/b")
    assert list(temp.iterdir()) == [young]


def test_the_default_place(monkeypatch):
    client = Client("http://127.0.0.1:1", registry="/nowhere")
    monkeypatch.setenv("GOBBLER_CACHE", "/somewhere")
    assert client.cache.path == "/somewhere"
    monkeypatch.delenv("GOBBLER_CACHE")
    assert "gobbler" in client.cache.path


def test_a_summary_on_probation_is_asked_for_again(web, client):
    summary = {"upload_user_id": "me", "upload_start": "t", "upload_finish": "t"}
    web.put("/fetch/p/a/v/..summary", json.dumps(summary | {"on_probation": True}))
    assert client.version("p", "a", "v").summary().on_probation
    web.put("/fetch/p/a/v/..summary", json.dumps(summary))
    other = Client(web.url, cache=client.cache.path, force_remote=True)
    assert not other.version("p", "a", "v").summary().on_probation


def test_without_an_address_nothing_can_be_fetched(tmp_path):
    with pytest.raises(GobblerError, match="address"):
        Client(registry=tmp_path, force_remote=True).fetch_file("p/a/v/a")
    with pytest.raises(GobblerError, match="not a directory on this machine"):
        Client(registry=tmp_path / "no").projects()
