"""Workplaces in a cache: what processes leave there, and what becomes of it."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.client.cache.partial import scratch_directory
from gobbler.fs.removal import remove_tree_quietly


def test_a_workplace_is_gone_afterwards(tmp_path):
    with scratch_directory(tmp_path) as place, place.part("k") as part:
        (part / "content").write_bytes(b"x")
        place.renew()
    assert list(tmp_path.rglob("*")) == [tmp_path / "temp"]


KILLED = """
import os, signal, sys
from pathlib import Path
from gobbler.client.cache.partial import scratch_directory
with scratch_directory(Path(sys.argv[1])) as place, place.part("k") as part:
    (part / "validator").write_text("tag")
    (part / "content").write_bytes(bytes(3 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_is_used(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert len(list(tmp_path.glob("temp/*"))) == 1
    with scratch_directory(tmp_path) as place, place.part("k") as part:
        assert (part / "content").stat().st_size == 3 << 20
        assert list(tmp_path.glob("temp/*")) == [place.path]


def test_what_a_living_process_has_is_left_alone(tmp_path):
    with scratch_directory(tmp_path) as one, one.part("k") as part:
        (part / "validator").write_text("tag")
        (part / "content").write_bytes(bytes(3 << 20))
        with scratch_directory(tmp_path) as other, other.part("k") as mine:
            assert not (mine / "content").exists()
        assert (part / "content").exists()


def test_what_is_put_away_is_nobodys_until_it_is_gone(tmp_path, monkeypatch):
    left = tmp_path / "temp" / "left"
    left.mkdir(parents=True)
    (left / "lock").touch()  # of a process that was killed before it could write its name
    put_away = []

    def remove(path: Path) -> None:
        if path == left and not put_away:
            put_away.append(left)
            with open(left / "lock", "rb") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_tree_quietly(path)

    monkeypatch.setattr("gobbler.client.cache.partial.remove_tree_quietly", remove)
    with scratch_directory(tmp_path):
        assert not left.exists()
    assert put_away == [left]


def test_without_locks_there_is_a_workplace_too(tmp_path, monkeypatch):
    def flock(*args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with scratch_directory(tmp_path) as one, scratch_directory(tmp_path):
        one.renew()
        assert one.path.is_dir()
    assert list(tmp_path.glob("temp/*")) == []
