"""A forked process gives back what its parent's threads had open at that moment."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gobbler.fs.lock import try_lock
from gobbler.service.worker_process import close_inherited


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_a_lock_is_free_again_though_a_child_lives_that_was_forked_meanwhile(
    tmp_path: Path,
) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "way").symlink_to("registry")
    lock, other = _open(tmp_path / "registry/..LOCK"), _open(tmp_path / "other/f")
    assert try_lock(lock, fcntl.LOCK_EX)
    ready, tell = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        close_inherited([str(tmp_path / "way")])
        os.fstat(other)  # is not ours to close
        os.write(tell, b"1")
        os.read(wait, 1)
        os._exit(0)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"1"
        again = _open(tmp_path / "registry/..LOCK")
        assert not try_lock(again, fcntl.LOCK_EX)  # ours is still held
        os.close(lock)
        assert try_lock(again, fcntl.LOCK_EX)
        os.close(again)
    finally:
        os.close(release)
        assert os.waitpid(child, 0)[1] == 0
        for descriptor in (ready, wait, other):
            os.close(descriptor)


def test_a_directory_of_a_like_name_is_another(tmp_path: Path) -> None:
    for name in ("registry", "registry-2"):
        (tmp_path / name).mkdir()
    theirs = _open(tmp_path / "registry-2/f")
    ours = _open(tmp_path / "registry/f")
    itself = os.open(tmp_path / "registry", os.O_RDONLY)
    child = os.fork()
    if child == 0:
        close_inherited([str(tmp_path / "registry")])
        os.fstat(theirs)
        closed = 0
        for descriptor in (ours, itself):
            try:
                os.fstat(descriptor)
            except OSError:
                closed += 1
        os._exit(closed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    for descriptor in (theirs, ours, itself):
        os.close(descriptor)
