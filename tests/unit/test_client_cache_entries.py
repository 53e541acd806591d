"""Looking after a cache: what is in it, what is damaged, what goes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from gobbler.cli import main
from gobbler.client import Client
from gobbler.client.cache.placement import cache_errors
from gobbler.errors import Fault, Forbidden, GobblerError, Missing

FILES = {"a": b"same", "d/b": b"same", "d/c": b"other", "large": b"x" * 5000}
RECORDS = {
    "..manifest": json.dumps(
        {
            path: {"size": len(data), "md5sum": hashlib.md5(data).hexdigest()}
            for path, data in FILES.items()
        }
        | {"empty": {"size": 0, "md5sum": ""}}
    ).encode(),
    "..summary": b"{}",
}
DAY = 86_400
SIZE = sum(len(data) for data in (*FILES.values(), *RECORDS.values()))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def client(web, cache):
    for version in ("1", "2"):
        for path, data in {**FILES, **RECORDS}.items():
            web.put(f"/fetch/p/a/{version}/{path}", data)
        listed = json.dumps([*FILES, *RECORDS, "empty/"])
        web.put(f"/list?path=p%2Fa%2F{version}&recursive=true", listed)
    web.put("/list?path=p%2Fa%2F1%2Fd&recursive=true", '["b", "c"]')
    return Client(web.url, cache=cache, force_remote=True)


@pytest.fixture
def filled(client):
    client.fetch_directory("p/a/1")
    client.fetch_directory("p/a/2")
    client.fetch_directory("p/a/1/d")
    client.fetch_file("p/a/1/a")
    return client


@pytest.fixture
def run(cache, capsys):
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["cache", *(str(word) for word in words), "--cache", str(cache)])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


def spoil(path: str | Path, data: bytes) -> None:
    os.chmod(path, 0o644)
    Path(path).write_bytes(data)


def make_old(cache: Path, days: float, *paths: str) -> None:
    """Pretend that entries, or all of them, were last used ``days`` ago."""
    before = time.time() - days * DAY
    for entry in Client(cache=cache).cache.entries():
        if not paths or entry.path in paths:
            os.utime(entry.whole, (before, before))


def paths(entries) -> list[str]:
    return [entry.path + "/" * entry.is_directory for entry in entries]


ALL = ["p/a/1/", "p/a/1/..manifest", "p/a/1/a", "p/a/1/d/", "p/a/2/", "p/a/2/..manifest"]


def test_what_is_in_it(filled, web, cache):
    listed = filled.cache.entries()
    assert paths(listed) == ALL
    assert {entry.service for entry in listed} == {web.url}
    assert (listed[0].files, listed[0].size) == (len(FILES) + len(RECORDS), SIZE)
    assert (listed[2].files, listed[2].size) == (1, 4)
    for entry in listed:
        assert Path(entry.place).is_dir() == entry.is_directory
        assert time.time() - entry.used < 600
    assert filled.fetch_directory("p/a/1/d") == listed[3].place


def test_an_empty_or_strange_cache(tmp_path, run):
    assert Client(cache=tmp_path / "none").cache.entries() == []
    (tmp_path / "cache" / "something else").mkdir(parents=True)
    (tmp_path / "cache" / "file").write_text("")
    assert run("ls") == (0, "", "")
    assert run("verify")[0] == 0
    assert run("prune", "--older-than", "0")[0] == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_all_is_well(filled, run):
    assert list(filled.cache.verify()) == []
    code, out, err = run("verify")
    assert (code, err) == (0, "")
    assert "no damage" in out


DAMAGE = {
    "size": lambda top: spoil(top / "large", b""),
    "content": lambda top: spoil(top / "large", b"y" * 5000),
    "missing": lambda top: (top / "large").unlink(),
    "a directory": lambda top: ((top / "large").unlink(), (top / "large").mkdir()),
    "a fifo": lambda top: ((top / "large").unlink(), os.mkfifo(top / "large")),
    "no directory": lambda top: (top / "empty").rmdir(),
    "manifest": lambda top: spoil(top.parents[2] / "..manifest", b"<html>"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_can_be_removed(filled, run, web, what):
    top = Path(filled.fetch_directory("p/a/2"))
    # Not a name of a file that others have, too.
    web.seen.clear()
    for path in FILES:
        data = (top / path).read_bytes()
        (top / path).unlink()
        (top / path).write_bytes(data)
    DAMAGE[what](top)
    assert paths(each.entry for each in filled.cache.verify()) == ["p/a/2/"]
    code, out, err = run("verify")
    assert code == 1
    assert out.count("\n") == 1
    assert err.startswith(
        "error: 1 entry of the cache is damaged\nhint: Remove the damage: gobbler cache verify --r"
    )
    assert run("verify", "--json")[0] == 1
    code, out, err = run("verify", "--remove")
    assert (code, err) == (0, "")
    assert "removed" in out
    assert run("verify")[0] == 0
    assert Path(filled.fetch_directory("p/a/2"), "large").read_bytes() == FILES["large"]
    assert "/fetch/p/a/2/..manifest" in web.seen


def test_damage_of_what_is_shared_is_mended_everywhere(filled, run):
    top = Path(filled.fetch_directory("p/a/1"))
    spoil(top / "a", b"SAME")
    code, out, _ = run("verify", "--json")
    assert code == 1
    reported = json.loads(out)
    assert {each["address"] for each in reported["damage"]} == {
        "p/a/1",
        "p/a/1/a",
        "p/a/1/d",
        "p/a/2",
    }
    assert run("verify", "--remove")[0] == 0
    for path in ("p/a/1", "p/a/2"):
        assert Path(filled.fetch_directory(path), "a").read_bytes() == b"same"


def test_a_tree_that_was_torn_apart_is_damage(filled, cache, run):
    (tree,) = [e.whole for e in filled.cache.entries() if e.path == "p/a/2"]
    os.rename(f"{tree}/p/a/2", f"{tree}/p/a/elsewhere")
    code, out, _ = run("verify")
    assert (code, out.count(tree)) == (1, 1)
    assert run("verify", "--remove")[0] == 0
    assert not os.path.exists(tree)


def test_a_record_that_is_no_json_is_damage(filled, cache):
    (record,) = cache.glob("*/files/p/a/1/..manifest")
    spoil(record, b"{")
    assert [each.entry.path for each in filled.cache.verify()] == ["p/a/1/..manifest"]


def test_what_was_not_used_for_long_goes(filled, cache, run):
    make_old(cache, 40)
    filled.fetch_directory("p/a/1")
    filled.fetch_file("p/a/1/a")
    before = paths(filled.cache.entries())
    code, out, err = run("prune", "--dry-run")
    assert (code, err) == (0, "")
    assert "would remove p/a/2/\n" in out
    assert paths(filled.cache.entries()) == before
    reported = json.loads(run("prune", "--dry-run", "--json")[1])
    pruned = filled.cache.prune(30 * DAY)
    assert paths(pruned.entries) == ["p/a/1/d/", "p/a/2/", "p/a/2/..manifest"]
    assert reported["freed"] == pruned.freed
    assert paths(filled.cache.entries()) == ["p/a/1/", "p/a/1/..manifest", "p/a/1/a"]
    assert list(filled.cache.verify()) == []


def space(cache: Path) -> int:
    """Bytes of all files, each counted once."""
    found = [path.lstat() for path in cache.rglob("*") if not path.is_dir()]
    return sum({(s.st_dev, s.st_ino): s.st_size for s in found}.values())


@pytest.mark.parametrize("kept", [("p/a/1",), ("p/a/2", "p/a/1/d"), ("p/a/1/a",), ()])
def test_as_much_is_freed_as_reported(filled, cache, kept):
    make_old(cache, 40)
    make_old(cache, 0, *kept) if kept else None
    before = space(cache)
    reported = filled.cache.prune(DAY, dry_run=True).freed
    assert filled.cache.prune(DAY).freed == reported == before - space(cache)
    if not kept:
        assert reported == before
        assert [path for path in cache.rglob("*") if not path.is_dir()] == []


def test_a_file_that_was_read_from_the_cache_counts_as_used(filled, cache, web):
    make_old(cache, 40)
    web.seen.clear()
    for fetch in (filled.fetch_directory, filled.fetch_file):
        fetch("p/a/1" if fetch == filled.fetch_directory else "p/a/1/a")
    assert set(web.seen) <= {"/fetch/p/a/1/..manifest"}
    used = {entry.path: entry.used for entry in filled.cache.entries() if entry.path != "p/a/2"}
    recent = [path for path, when in used.items() if time.time() - when < DAY]
    assert recent == ["p/a/1", "p/a/1/..manifest", "p/a/1/a"]


def test_parts_of_files_and_files_without_a_name_go_too(filled, cache):
    (service,) = cache.iterdir()
    part = service / "partial" / "0123"
    part.mkdir(parents=True)
    (part / "content").write_bytes(b"x" * 1000)
    pruned = filled.cache.prune(DAY)
    assert (pruned.leftovers, pruned.freed) == (0, 0)
    before = time.time() - 2 * DAY
    os.utime(part, (before, before))
    pruned = filled.cache.prune(DAY)
    assert (pruned.leftovers, pruned.freed) == (1, 1000)
    assert list((service / "partial").iterdir()) == []
    assert filled.cache.entries() != []


@pytest.mark.parametrize("age", ["", "x", "-1d", "1y", "1.5d", "9999999d"])
def test_what_is_no_age(run, age):
    code, _, err = run("prune", "--older-than", age)
    assert code == 2
    assert "is not an age" in err


@pytest.mark.parametrize(("age", "days"), [("12h", 0.5), ("2w", 14), ("3", 3), ("10m", 0.0069)])
def test_ages(filled, cache, run, age, days):
    make_old(cache, days * 1.1)
    make_old(cache, days * 0.9, "p/a/1")
    run("prune", "--older-than", age)
    assert paths(filled.cache.entries()) == ["p/a/1/"]


def test_ls_for_scripts(filled, run, web):
    code, out, err = run("ls")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[3] for row in rows] == ALL
    assert rows[0][:2] == [str(SIZE), str(len(FILES) + len(RECORDS))]
    reported = json.loads(run("ls", "--json")[1])
    assert [entry["address"] for entry in reported["entries"]] == [path.rstrip("/") for path in ALL]
    assert reported["entries"][0]["service"] == web.url


# What the filesystem says.


@pytest.mark.parametrize(
    ("number", "kind", "said", "hint"),
    [
        (errno.ENOSPC, Fault, "has no space left", "gobbler cache prune"),
        (errno.EDQUOT, Fault, "has no space left", "gobbler cache prune"),
        (errno.EACCES, Forbidden, "can't be used", "GOBBLER_CACHE"),
        (errno.EROFS, Forbidden, "can't be used", "GOBBLER_CACHE"),
        (errno.ENOTDIR, Fault, "is damaged", "gobbler cache verify"),
        (errno.EIO, Fault, "is damaged", "gobbler cache verify"),
    ],
)
def test_what_went_wrong_is_reported(number, kind, said, hint):
    with pytest.raises(kind, match=said) as caught, cache_errors("/c"):
        raise OSError(number, os.strerror(number), "/c/x")
    assert hint in caught.value.hint


def test_what_is_reported_already_stays():
    with pytest.raises(Missing, match="gone"), cache_errors("/c"):
        raise Missing("gone")


def test_no_space_leaves_nothing(client, cache, monkeypatch):
    def full(descriptor: int, data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gobbler.client.download.write_all", full)
    with pytest.raises(Fault, match="no space left"):
        client.fetch_directory("p/a/1")
    assert {path.name for path in cache.rglob("*") if path.is_file()} <= {"..manifest"}
    monkeypatch.undo()
    assert list(cache.glob("*/trees/*")) == []
    client.fetch_directory("p/a/1")


@pytest.mark.parametrize("inside", ["", "files", "trees", "temp", "objects"])
def test_a_file_where_a_directory_should_be(client, web, cache, run, inside):
    place = cache / web.url.replace(":", "%3A").replace("/", "%2F") / inside
    place.parent.mkdir(parents=True)
    place.write_text("")
    broken = []
    for fetch, path in ((client.fetch_directory, "p/a/1"), (client.fetch_file, "p/a/1/a")):
        try:
            fetch(path)
        except GobblerError as error:
            broken.append(error)
    assert broken
    assert all("is damaged" in error.reason and error.hint for error in broken)
    for command in ("ls", "verify", "prune"):
        code, _, err = run(command)
        assert code in (0, 1)
        assert "Traceback" not in err
