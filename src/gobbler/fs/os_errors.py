"""Errors of the operating system: add the path and the operation, and turn them into faults."""

from __future__ import annotations

import errno
import os

from gobbler.errors import Fault, os_error_code, quoted

_HINTS = {
    errno.ENOSPC: "Free some space on that filesystem, or some of its inodes, then try again.",
    errno.EDQUOT: "Free some space on that filesystem, or let its administrator raise the quota.",
    errno.EIO: "The disk, or the server that has it, fails: see the log of the kernel.",
    errno.ESTALE: "The server has that directory no longer: mount the filesystem again.",
    errno.EROFS: "Mount that filesystem for writing, then try again.",
    errno.EMFILE: "Let the service open more files (ulimit -n), or try again later.",
}

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)

MISTAKES = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM),
    errno.EWOULDBLOCK,  # another process holds a lease on it
}
"""Errors about a path itself: its kind, or who may read it."""


def is_of_the_disk(error: OSError) -> bool:
    """Whether a disk, or the server that has it, is at fault: the code of the service is not."""
    return error.errno in _OF_THE_DISK


# There are dozens of these blocks in the smallest request, and a generator takes three times as
# long as a class.


class _RaisingFault:
    __slots__ = ("_operation", "_path")

    def __init__(self, operation: str, path: str) -> None:
        self._operation, self._path = operation, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise fault_at(error, self._operation, self._path) from error


def raising_fault(operation: str, path: str) -> _RaisingFault:
    """Turn an ``OSError`` into a :class:`~gobbler.errors.Fault`: "could not ... ``path``"."""
    return _RaisingFault(operation, path)


class _WithPath:
    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # Calls on a descriptor report that at best.
        if isinstance(error, OSError) and not isinstance(error.filename, str):
            error.filename = self._path


def with_path(path: str) -> _WithPath:
    """Add ``path`` to an ``OSError`` that has none. The error keeps its number."""
    return _WithPath(path)


def fault_from(error: OSError, operation: str) -> Fault:
    """The fault for an ``error`` that happened somewhere in the ``operation``."""
    # Of the two paths of a rename or a link, the second is the new one.
    path = error.filename2 or error.filename
    if path is None:
        return Fault(f"could not {operation}: {error.strerror or error}", code=os_error_code(error))
    return fault_at(error, f"{operation} at", os.fsdecode(path))


def fault_at(error: OSError, operation: str, path: str) -> Fault:
    """The fault for an ``error`` of the ``operation`` on ``path``."""
    reason = error.strerror or str(error)
    return Fault(
        f"could not {operation} {quoted(path)}: {reason}",
        code=os_error_code(error),
        hint=_HINTS.get(error.errno or 0, ""),
    )
