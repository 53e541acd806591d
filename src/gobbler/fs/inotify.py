"""inotify: the kernel reports which names in a directory change, and the caller sleeps meanwhile.

Only changes by this kernel are reported, see :func:`gobbler.fs.mounts.reports_all_changes`.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from functools import cache
from typing import NamedTuple

CLOSE_WRITE = 0x0000_0008
MOVED_FROM = 0x0000_0040
MOVED_TO = 0x0000_0080
CREATE = 0x0000_0100
DELETE = 0x0000_0200
DELETE_SELF = 0x0000_0400
MOVE_SELF = 0x0000_0800
UNMOUNT = 0x0000_2000
OVERFLOW = 0x0000_4000
IGNORED = 0x0000_8000

APPEARED = CREATE | MOVED_TO
VANISHED = DELETE | MOVED_FROM

DIRECTORY_GONE = DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED
"""The watched directory is no longer at its path."""

_ONLY_DIRECTORIES = 0x0100_0000
_HEADER = struct.Struct("iIII")
_BUFFER = 1 << 16


class Event(NamedTuple):
    """What happened to ``name`` in the directory that has the number ``watch``.

    ``mask`` is a set of the flags above. ``watch`` is -1 if events were lost (``OVERFLOW``).
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """One instance of inotify. Its descriptor is readable when there are events.

    Raises ``OSError`` where the user has as many instances or watches as the system allows. The
    descriptor is closed with the object.
    """

    def __init__(self) -> None:
        self._descriptor = _checked(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __del__(self) -> None:
        """Close the descriptor."""
        with suppress(AttributeError, OSError):
            os.close(self._descriptor)

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self._descriptor

    def add(self, directory: str, mask: int) -> int:
        """Watch ``directory``; the number of this watch in events."""
        path = os.fsencode(directory)
        flags = mask | DELETE_SELF | MOVE_SELF | _ONLY_DIRECTORIES
        return _checked(_libc().inotify_add_watch(self.fileno(), path, flags), directory)

    def read(self) -> list[Event]:
        """The events that have arrived; does not wait."""
        found: list[Event] = []
        more = True
        while more:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                break
            more = len(data) > _BUFFER // 2
            start = 0
            while start < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, start)
                start += _HEADER.size
                name = os.fsdecode(data[start : start + length].rstrip(b"\0"))
                start += length
                found.append(Event(watch, mask, name))
        return found


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, path: str = "inotify") -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result
