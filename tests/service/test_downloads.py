"""Downloads from the real service: the same whichever way they come, and shared by many."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pygobbler
from gobbler.client import Client
from gobbler.client.archive import MIN_FILES, remember_none
from gobbler.errors import Missing

COUNT = MIN_FILES * 3


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For a mount."""
    return removed_by_us


@pytest.fixture
def versions(client, project, tmp_path) -> str:
    """Two versions of many small files and a large one, the second mostly links."""
    source = tmp_path / "many"
    for i in range(COUNT):
        path = source / f"d{i % 3}" / f"file {i} é" / "f.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"content {i}")
    (source / "large").write_bytes(os.urandom(9 << 20))
    (source / "empty" / "inner").mkdir(parents=True)
    (source / ("n" * 200)).write_text("long")
    client.upload(project, "a", "1", source)
    (source / "d0" / "new").write_text("new")
    (source / "same").symlink_to("d0/new")
    client.upload(project, "a", "2", source)
    return project


def tree(top: str | Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes()
        for path in Path(top).rglob("*")
    }


@pytest.mark.parametrize("below", ["1", "2", "2/d0"])
def test_an_archive_and_single_files_bring_the_same(service, versions, tmp_path, below):
    path = f"{versions}/a/{below}"
    got = []
    for name in ("archive", "single"):
        cache = tmp_path / name
        client = Client(service.url, cache=cache, force_remote=True)
        if name == "single":
            root = Path(client.connection.cache._root)
            root.mkdir(parents=True)
            remember_none(root)
        got.append(tree(client.fetch_directory(path)))
    assert got[0] == got[1] == tree(f"{service.registry}/{path}")
    mine = pygobbler.fetch_directory(
        path, service.registry, service.url, str(tmp_path / "third"), force_remote=True
    )
    assert tree(mine) == got[0]


def test_versions_share_what_is_the_same(remote, versions):
    one, two = (Path(remote.fetch_directory(f"{versions}/a/{v}")) for v in "12")
    assert (one / "large").samefile(two / "large")
    assert (two / "same").samefile(two / "d0" / "new")


PROGRAM = """
import sys
from gobbler.client import Client
url, cache, project, number = sys.argv[1:]
client = Client(url, cache=cache, force_remote=True)
for version in "12":
    where = client.fetch_directory(f"{project}/a/{version}", overwrite=int(number) % 3 == 0)
    client.fetch_file(f"{project}/a/{version}/large", overwrite=int(number) % 2 == 0)
    client.cache.prune(3600)
"""


def test_many_processes_share_a_cache(service, remote, versions, tmp_path):
    cache = remote.cache
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, service.url, cache, versions, str(i)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(6)
    ]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert list(remote.cache.verify()) == []
    for version in "12":
        path = f"{versions}/a/{version}"
        assert tree(remote.fetch_directory(path)) == tree(f"{service.registry}/{path}")
    assert list(Path(cache).glob("*/temp/*")) == []


def test_the_cache_on_the_command_line(run, as_json, versions):
    code, out, _ = run("fetch", f"{versions}/a/1", "--remote")
    assert code == 0
    listed = [(e["address"], e["directory"]) for e in as_json("cache", "ls")["entries"]]
    assert listed == [(f"{versions}/a/1", True), (f"{versions}/a/1/..manifest", False)]
    assert run("cache", "verify")[0] == 0
    damaged = Path(out.strip(), "large")
    os.chmod(damaged, 0o644)
    damaged.write_bytes(b"")
    code, out, err = run("cache", "verify")
    assert (code, out) == (1, f"{damaged}: it has 0 bytes instead of {9 << 20}\n")
    assert re.fullmatch(r"error: .*\nhint: .*--remove.*\n", err)
    assert run("cache", "verify", "--remove")[0] == 0
    assert run("fetch", f"{versions}/a/1/large", "--remote")[0] == 0
    code, out, _ = run("cache", "prune", "--older-than", "0")
    assert (code, out.splitlines()[-1][:9]) == (0, "removed 2")
    assert as_json("cache", "ls")["entries"] == []


def test_a_copy_of_ones_own_can_be_written(run, versions, tmp_path):
    mine = tmp_path / "mine"
    assert run("fetch", f"{versions}/a/1", "--remote", "--to", mine)[0] == 0
    assert (mine / "d0" / "file 0 é" / "f.txt").stat().st_mode & 0o200
    assert not list(mine.rglob("..*"))
    assert run("fetch", f"{versions}/a/1/large", "--remote", "--to", tmp_path / "x")[0] == 0
    assert (tmp_path / "x").stat().st_mode & 0o200


def test_a_version_that_went_is_missing(client, remote, run, versions):
    remote.fetch_file(f"{versions}/a/1/large")
    client.admin.delete_version(versions, "a", "1")
    with pytest.raises(Missing):
        remote.fetch_directory(f"{versions}/a/1")
    code, out, err = run("fetch", f"{versions}/a/1", "--remote")
    assert (code, out) == (5, "")
    assert 1 <= len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("option", "code"),
    [(("--url", "http://127.0.0.1:1"), 6), (("--url", "nonsense"), 3)],
)
def test_no_service_is_reported_in_two_lines(run, option, code):
    got, out, err = run("fetch", "p/a/1", "--remote", *option)
    assert (got, out) == (code, "")
    assert 1 <= len(err.splitlines()) <= 2
    assert err.startswith("error: ")


def test_a_cache_without_space_is_reported_in_two_lines(run, versions, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small filesystem")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "none", small])
    if mounted.returncode != 0:
        pytest.skip("a small filesystem can't be mounted here")
    try:
        code, out, err = run("fetch", f"{versions}/a/1", "--remote", "--cache", small)
        assert (code, out) == (1, "")
        assert "has no space left" in err
        assert "gobbler cache prune" in err
        assert len(err.splitlines()) == 2
        assert not list(small.glob("*/trees/*"))
        assert not list(small.glob("*/temp/*"))
        entries = json.loads(run("cache", "ls", "--json", "--cache", small)[1])["entries"]
        assert [entry["address"] for entry in entries] == [f"{versions}/a/1/..manifest"]
    finally:
        subprocess.run(["umount", small], check=True)
