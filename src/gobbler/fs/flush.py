"""Flushing to disk: what "acknowledged" means.

``full``: a change is acknowledged once it survives a power cut. One ``syncfs`` flushes a
whole publication, which is far cheaper than one ``fsync`` for each of thousands of files.
Changes that wait at the same time share one.

``relaxed``: a change survives the end of any process, but a power cut may lose the last
seconds and leave the version that was being written damaged. For scratch registries.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gobbler.errors import Code, Fault, quoted
from gobbler.fs.os_errors import with_path

_libc = ctypes.CDLL(None, use_errno=True)


class Durability(str, enum.Enum):
    """How much is flushed before a change is acknowledged."""

    FULL = "full"
    RELAXED = "relaxed"


def flush_filesystem(path: str, durability: Durability) -> None:
    """Flush all that was written to the filesystem that holds ``path``.

    Raises ``OSError`` when the filesystem reports that something could not be written.
    """
    if durability is Durability.FULL:
        _shared_flush(path).flush(path)


@contextmanager
def raising_not_durable(change: str) -> Iterator[None]:
    """Flush in this block what has been done: an error then says that ``change`` stands.

    It is not taken back. That would be a change as well, which could not be flushed
    either; and others may have built upon it.
    """
    try:
        yield
    except OSError as error:
        raise Fault(
            f"{change} has been made, but could not be flushed to disk, "
            f"so that a power cut may undo it: {error.strerror}: {quoted(str(error.filename))}",
            code=Code.NOT_DURABLE,
            hint="Check that filesystem. Do not send the request again: the change is complete.",
        ) from error


class SharedFlush:
    """One flush for all that wait: whoever comes during one waits for the next.

    A flush covers what was written before it began, so nobody may rely on one that had
    begun before they came. Of those who wait, one does the next, and tells the others.
    """

    def __init__(self, path: str) -> None:
        # Kept open: an error that the kernel met while it wrote in the background is
        # reported by a descriptor only if that had been open at the time.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._condition = threading.Condition()
        self._begun = 0
        self._ended = 0
        self._failure: tuple[int, int] | None = None

    def flush(self, path: str) -> None:
        """Return when a flush that began after this call has ended.

        An ``OSError`` tells the caller's own ``path`` on that filesystem.
        """
        with self._condition:
            mine = self._begun + 1
            while self._ended < mine:
                if self._begun == self._ended:
                    self._begun += 1
                    break
                self._condition.wait()
            else:
                if self._failure is not None and self._failure[0] >= mine:
                    raise _failed(self._failure[1], path)
                return
        error = self._flush_for_all()
        if error:
            raise _failed(error, path)

    def _flush_for_all(self) -> int:
        """The number of the error; 0 if there was none."""
        error = errno.EINTR
        while error == errno.EINTR:  # a signal; Python sees to that only in its own calls
            error = ctypes.get_errno() if _libc.syncfs(self._descriptor) != 0 else 0
        with self._condition:
            if error:
                self._failure = (self._begun, error)
            self._ended = self._begun
            self._condition.notify_all()
        return error


def _failed(error: int, path: str) -> OSError:
    return OSError(error, os.strerror(error), path)


_flushes: dict[int, SharedFlush] = {}
_flushes_lock = threading.Lock()


def _start_anew() -> None:
    # A process that was forked has none of the threads that may be in mid-flush.
    global _flushes_lock  # noqa: PLW0603 - a lock that may be held for ever is no use
    _flushes_lock = threading.Lock()
    _flushes.clear()


os.register_at_fork(after_in_child=_start_anew)


def _shared_flush(path: str) -> SharedFlush:
    device = os.stat(path).st_dev
    with _flushes_lock:
        if device not in _flushes:
            _flushes[device] = SharedFlush(path)
        return _flushes[device]


_START_WRITING = 2
_WAIT_UNTIL_WRITTEN = 1 | 2 | 4


def write_out(descriptor: int, start: int, count: int, *, wait: bool) -> None:
    """Have the kernel write a range of an open file to disk now, in the background.

    With ``wait``, return when it is written. This is no flush (it tells nothing about
    whether the file survives a power cut); it keeps unwritten data from piling up, for
    which everybody else's flush would have to wait.
    """
    flags = _WAIT_UNTIL_WRITTEN if wait else _START_WRITING
    _sync_file_range(descriptor, start, count, flags)


def _find_sync_file_range() -> Callable[[int, int, int, int], int]:
    try:
        function = _libc.sync_file_range
    except AttributeError:  # another C library: the kernel decides when to write
        return lambda *_: 0
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _find_sync_file_range()


def flush_directory(path: str, durability: Durability) -> None:
    """Flush the entries of the directory ``path``: what was renamed or made in it."""
    if durability is Durability.FULL:
        _fsync(path, os.O_DIRECTORY)


def flush_files(path: str, durability: Durability) -> None:
    """Flush the few small files below the directory ``path``, and that it is there.

    Unlike :func:`flush_filesystem` it need not wait for what others write.
    """
    if durability is Durability.FULL:
        for directory, _, files in os.walk(path, topdown=False):
            for file in files:
                _fsync(f"{directory}/{file}", os.O_NOFOLLOW)
            _fsync(directory, os.O_DIRECTORY)
        _fsync(os.path.dirname(path), os.O_DIRECTORY)


def _fsync(path: str, flag: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flag)
    try:
        with with_path(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
