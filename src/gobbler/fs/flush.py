"""Flush to disk what the service acknowledges.

``full``: the service acknowledges a change when it survives a power cut. One ``syncfs`` flushes a
whole publication, which is far cheaper than one ``fsync`` for each of thousands of files. Changes
that wait at the same time share one ``syncfs``.

``relaxed``: a change survives the end of any process, but a power cut may lose the last seconds,
and damage the version that was being published. For scratch registries.
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
    """Flush the whole filesystem that holds ``path``.

    Raises ``OSError`` if the filesystem reports a failed write.
    """
    if durability is Durability.FULL:
        _shared_flush(path).flush(path)


@contextmanager
def raising_not_durable(change: str) -> Iterator[None]:
    """Flush a committed ``change`` in this block: an error says that the change was made.

    The change is not rolled back: that would be a change that can't be flushed either, and other
    changes may have followed.
    """
    try:
        yield
    except OSError as error:
        raise Fault(
            f"{change} has been made, but could not be flushed to disk, "
            f"so a power cut may undo it: {error.strerror}: {quoted(str(error.filename))}",
            code=Code.NOT_DURABLE,
            hint="Check that filesystem. Do not send the request again: the change is complete.",
        ) from error


class SharedFlush:
    """One flush for all threads that wait for one.

    A flush covers the writes before its start, so a thread that arrives during a flush waits for
    the next one. One of the waiting threads makes that flush for all of them.
    """

    def __init__(self, path: str) -> None:
        # Stays open: the kernel reports an error of its background writes only on descriptors
        # that were open at that time.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._condition = threading.Condition()
        self._begun = 0
        self._ended = 0
        self._failure: tuple[int, int] | None = None

    def flush(self, path: str) -> None:
        """Return when a flush that began after this call has ended.

        An ``OSError`` has the caller's ``path`` on that filesystem.
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
        """Make a flush; the number of the error, or 0."""
        error = errno.EINTR
        while error == errno.EINTR:  # a signal; Python retries only its own calls
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


def _reset_after_fork() -> None:
    # The child has none of the threads that may be in a flush.
    global _flushes_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _flushes_lock = threading.Lock()
    _flushes.clear()


os.register_at_fork(after_in_child=_reset_after_fork)


def _shared_flush(path: str) -> SharedFlush:
    device = os.stat(path).st_dev
    with _flushes_lock:
        if device not in _flushes:
            _flushes[device] = SharedFlush(path)
        return _flushes[device]


_START_WRITING = 2
_WAIT_UNTIL_WRITTEN = 1 | 2 | 4


def write_out(descriptor: int, start: int, count: int, *, wait: bool) -> None:
    """Start to write a range of an open file to disk, in the background.

    With ``wait``, returns when it is written. This is no flush: the file need not survive a power
    cut. It limits unwritten data, for which flushes of other threads would wait.
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
    """Flush the entries of the directory ``path``: renames and new files in it."""
    if durability is Durability.FULL:
        _fsync(path, os.O_DIRECTORY)


def flush_files(path: str, durability: Durability) -> None:
    """Flush the few small files below the directory ``path``, and its own entry.

    Unlike :func:`flush_filesystem`, this does not wait for the writes of others.
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
