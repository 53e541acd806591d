"""Flushing a filesystem: how failures are reported, and which errors are none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault
from gobbler.fs import flush as flushing
from gobbler.fs.flush import Durability, SharedFlush, flush_filesystem, raising_not_durable


class Libc:
    """A C library whose ``syncfs`` fails with ``errors``, one after the other."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.called = 0

    def syncfs(self, descriptor: int) -> int:
        os.fstat(descriptor)
        self.called += 1
        if not self.errors:
            return 0
        flushing.ctypes.set_errno(self.errors.pop(0))
        return -1


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """By which the filesystem is flushed; what is open is closed afterwards."""
    yield tmp_path
    flush = flushing._flushes.pop(tmp_path.stat().st_dev, None)
    if flush is not None:
        os.close(flush._descriptor)


def test_a_failure_reports_the_path_of_the_one_who_asked(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "former").mkdir()
    flush_filesystem(str(directory / "former"), Durability.FULL)
    (directory / "former").rmdir()
    monkeypatch.setattr(flushing, "_libc", Libc(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as caught:
        flush_filesystem(str(directory), Durability.FULL)
    assert caught.value.filename == str(directory)
    flush_filesystem(str(directory), Durability.FULL)


def test_a_signal_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc(errno.EINTR, errno.EINTR)
    monkeypatch.setattr(flushing, "_libc", libc)
    flush = SharedFlush(str(tmp_path))
    flush.flush(str(tmp_path))
    assert libc.called == 3
    os.close(flush._descriptor)


def test_nothing_is_flushed_for_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(flushing, "_libc", libc)
    flush_filesystem(str(tmp_path), Durability.RELAXED)
    assert libc.called == 0


def test_a_change_that_is_not_durable_says_so_by_its_code() -> None:
    with (
        pytest.raises(Fault, match='version "p/a/1" has been made') as caught,
        raising_not_durable('version "p/a/1"'),
    ):
        raise OSError(errno.EIO, "Input/output error", "/registry")
    assert caught.value.code is Code.NOT_DURABLE
