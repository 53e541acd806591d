"""Errors of the operating system: add the path and the operation, and turn them into faults."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import Fault, os_error_code, quoted

_HINTS = {
    errno.ENOSPC: "Free some space on that filesystem, or some of its inodes, then try again. To "
    "delete projects, assets and versions works on a full disk, too.",
    errno.EDQUOT: "Raise the quota of the service's account on that filesystem, then try again.",
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


@contextmanager
def raising_fault(operation: str, path: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`~gobbler.errors.Fault`: "could not ... ``path``"."""
    try:
        yield
    except OSError as error:
        raise fault_at(error, operation, path) from error


@contextmanager
def with_path(path: str) -> Iterator[None]:
    """Add ``path`` to an ``OSError`` that has none. The error keeps its number."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str):  # calls on a descriptor report that at best
            error.filename = path
        raise


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
