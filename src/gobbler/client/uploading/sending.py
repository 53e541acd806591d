"""Copying one file into staging, and its checksum while that is read anyway."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from typing import NamedTuple

from gobbler.client.workers import Stop
from gobbler.disk.instep import CHUNK, read_in_step
from gobbler.disk.opening import read_all
from gobbler.disk.writing import write_all
from gobbler.errors import Fault, quoted

_FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""

_WORTH_SHARING = 64 * 1024
"""Bytes from which on that is tried."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Sent(NamedTuple):
    """A file that was copied: its size in bytes and MD5."""

    size: int
    md5sum: str


def send(source: str, target: str, told: Callable[[int], None], stop: Stop) -> Sent:
    """Copy the file ``source`` to ``target``; it must be the same before and after.

    Where the filesystem can, both share their blocks, and nothing is written. ``told`` is
    told of every piece, in bytes. Raises :class:`~gobbler.errors.Fault` if the file changed.
    """
    reader = os.open(source, _READ)
    try:
        writer = os.open(target, _MAKE, 0o666)
        try:
            return _copied(source, reader, writer, told, stop)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copied(source: str, reader: int, writer: int, told: Callable[[int], None], stop: Stop) -> Sent:
    before = os.fstat(reader)
    read = 0

    def check(size: int) -> None:
        nonlocal read
        stop.check()
        told(size)
        read += size
        if read > before.st_size:  # it grows, as a log that is being written does
            raise _changed(source)

    if before.st_size < CHUNK:
        data = read_all(reader, before.st_size)
        if before.st_size < _WORTH_SHARING or not _shares(reader, writer):
            write_all(writer, data)
        check(len(data))
        sent = Sent(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
    elif _shares(reader, writer):
        sent = Sent(*read_in_step(writer, lambda *_: None, check))
    else:
        sent = Sent(*read_in_step(reader, lambda part, _: write_all(writer, part), check))
    after = os.fstat(reader)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or sent.size != before.st_size:
        raise _changed(source)
    return sent


def _shares(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def _changed(source: str) -> Fault:
    return Fault(
        f"{quoted(source)} changed while it was copied",
        hint="Wait until it is complete, and upload again.",
    )
