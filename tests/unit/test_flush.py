"""Flushing a filesystem: how failures are reported, and which errors are none."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gobbler.errors import Code, Fault
from gobbler.fs import flush as flushing
from gobbler.fs import flushers
from gobbler.fs.flush import (
    Durability,
    SharedFlush,
    flush_filesystem,
    flush_tree,
    raising_not_durable,
)


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


def calls_of(monkeypatch: pytest.MonkeyPatch, tree: Path) -> tuple[int, set[str]]:
    """How often the whole filesystem is flushed for ``tree``, and what is flushed by itself."""
    libc, flushed = Libc(), set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(flushing, "_libc", libc)
    monkeypatch.setattr(os, "fsync", fsync)
    flush_tree(str(tree), Durability.FULL)
    return libc.called, {os.path.relpath(path, tree.parent) for path in flushed}


@pytest.mark.parametrize("slow", [False, True])
def test_a_small_tree_is_flushed_by_itself_however_many_links_it_has(
    directory: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    if slow:
        monkeypatch.setattr(flushers, "SLOW_FLUSH_SECONDS", -1.0)
    tree = directory / "tree"
    for inner in (f"d{number}" for number in range(100)):
        (tree / inner).mkdir(parents=True)
        for number in range(10):
            (tree / inner / f"link-{number}").symlink_to("nowhere")
    for name in ("one", "d99/two"):
        (tree / name).write_bytes(b"x")
    called, flushed = calls_of(monkeypatch, tree)
    assert called == 0
    expected = {"tree", "tree/one", "tree/d99/two", *(f"tree/d{number}" for number in range(100))}
    assert flushed == {".", *expected}


def test_a_large_tree_is_flushed_with_its_filesystem(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = directory / "tree"
    tree.mkdir()
    for number in range(flushing.FEW_FILES + 1):
        (tree / str(number)).touch()
    assert calls_of(monkeypatch, tree) == (1, set())


def test_a_flush_in_another_thread_fails_the_change(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flushers, "SLOW_FLUSH_SECONDS", -1.0)
    (directory / "one").touch()
    (directory / "two").touch()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("two"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output") as caught:
        flush_tree(str(directory), Durability.FULL)
    assert caught.value.filename == str(directory / "two")


def test_a_device_is_slow_until_its_flushes_are_fast_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory must not stay slow because of one moment when this process had to wait."""
    monkeypatch.setattr(flushers, "_slow", slow := set[int]())
    monkeypatch.setattr(flushers, "SLOW_FLUSH_SECONDS", -1.0)
    flushers.flush_together([lambda: None] * 3, 1)
    assert slow == {1}
    monkeypatch.setattr(flushers, "SLOW_FLUSH_SECONDS", 3600.0)
    flushers.flush_together([lambda: None] * 3, 1)
    assert slow == set()


def test_a_slow_device_gets_its_flushes_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushers, "_slow", {1})
    together = threading.Barrier(4)
    flushers.flush_together([lambda: together.wait(10) and None] * 4, 1)
    assert not together.broken


def test_without_threads_one_thread_flushes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(flushers, "_slow", {1})
    monkeypatch.setattr(flushers, "_threads", None)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    flushed: list[int] = []
    flushers.flush_together([partial(flushed.append, number) for number in range(5)], 1)
    assert sorted(flushed) == list(range(5))
