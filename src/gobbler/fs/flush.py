"""Flush to disk what the service acknowledges.

``full``: the service acknowledges a change when it survives a power cut. A small change flushes its
own files and directories, so it does not wait for what others write to the same filesystem. One
``syncfs`` flushes a large change, which is far cheaper than one ``fsync`` for each of thousands of
files. Changes that wait at the same time share one ``syncfs``.

``relaxed``: a change survives the end of any process, but a power cut may lose the last seconds,
and damage the version that was being published. For scratch registries.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from gobbler.errors import Code, Fault, quoted
from gobbler.fs.flushers import flush_together
from gobbler.fs.open import closing
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
        with closing(_open(path, os.O_DIRECTORY)) as descriptor, with_path(path):
            os.fsync(descriptor)


FEW_FILES = 64
"""Number of files up to which each is flushed by itself.

``syncfs`` also waits for what others have written to the filesystem: gigabytes, perhaps. But it
takes one call, and ``fsync`` takes one for each file.
"""

FEW_DIRECTORIES = 256
"""Number of directories up to which each is flushed by itself.

A new version of two changed files and a thousand links may have many. The flush of the first one
writes most of the others as well.
"""


def flush_tree(path: str, durability: Durability) -> None:
    """Flush everything below the directory ``path``, and its own entry.

    A small tree does not wait for the writes of others. What vanishes meanwhile needs no flush.
    """
    if durability is not Durability.FULL:
        return
    few = _few_below(path)
    if few is None:
        flush_filesystem(path, durability)
        return
    files, directories = few
    parent = os.path.dirname(path)
    _flush_each(files, [*reversed(directories), parent], within=parent)


def flush_paths(
    files: Iterable[str], directories: Iterable[str], durability: Durability, *, within: str
) -> None:
    """Flush ``files``, then the entries of ``directories``, of the filesystem of ``within``.

    Ignores paths that are gone: the change that removed them flushes their removal.
    """
    if durability is not Durability.FULL:
        return
    files, directories = list(dict.fromkeys(files)), list(dict.fromkeys(directories))
    if len(files) > FEW_FILES or len(directories) > FEW_DIRECTORIES:
        flush_filesystem(within, durability)
        return
    _flush_each(files, directories, within=within)


def _few_below(top: str) -> tuple[list[str], list[str]] | None:
    """The files and the directories below ``top``, parents first; ``None`` if they are many."""
    files: list[str] = []
    directories = [top]
    for directory in directories:  # which grows meanwhile
        with suppress(FileNotFoundError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.path)
                if len(files) > FEW_FILES or len(directories) > FEW_DIRECTORIES:
                    return None
    return sorted(files), directories


def _flush_each(files: Sequence[str], directories: Sequence[str], *, within: str) -> None:
    if len(files) > 1:
        # All data is on its way before the first flush waits for its part.
        for file in files:
            with suppress(FileNotFoundError), closing(_open(file, _FILE)) as descriptor:
                write_out(descriptor, 0, 0, wait=False)
    flush_together(
        [
            *(partial(_fsync, file, _FILE) for file in files),
            *(partial(_fsync, directory, os.O_DIRECTORY) for directory in directories),
        ],
        os.stat(within).st_dev,
    )


_FILE = os.O_NOFOLLOW


def _open(path: str, flag: int) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flag)


def _fsync(path: str, flag: int) -> None:
    try:
        descriptor = _open(path, flag)
    except (FileNotFoundError, NotADirectoryError):
        return
    with closing(descriptor), with_path(path):
        os.fsync(descriptor)
