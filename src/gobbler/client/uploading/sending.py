"""Copying one file into staging, and its checksum while that is read anyway."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from gobbler.client.workers import Stop
from gobbler.errors import Fault, quoted

CHUNK = 1 << 20

_FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""


class Sent(NamedTuple):
    """A file that was copied: its size in bytes and MD5."""

    size: int
    md5sum: str


def send(source: str, target: str, told: Callable[[int], None], stop: Stop) -> Sent:
    """Copy the file ``source`` to ``target``; it must be the same before and after.

    Where the filesystem can, both share their blocks, and nothing is written. ``told`` is
    told of every piece, in bytes. Raises :class:`~gobbler.errors.Fault` if the file changed.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(source, flags), "rb") as reader, open(target, "x+b") as writer:
        before = os.fstat(reader.fileno())
        if _shares(reader, writer):
            sent = _hash(writer, writer, before.st_size, told, stop, write=False)
        else:
            sent = _hash(reader, writer, before.st_size, told, stop, write=True)
        after = os.fstat(reader.fileno())
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not same or sent.size != before.st_size:
            raise Fault(
                f"{quoted(source)} changed while it was copied",
                hint="Wait until it is complete, and upload again.",
            )
    return sent


def _shares(reader: BinaryIO, writer: BinaryIO) -> bool:
    try:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
    except OSError:
        return False
    return True


def _hash(
    reader: BinaryIO,
    writer: BinaryIO,
    expected: int,
    told: Callable[[int], None],
    stop: Stop,
    *,
    write: bool,
) -> Sent:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    # One byte more than it had shows that it grows, as a log that is being written does.
    while size <= expected and (chunk := reader.read(min(CHUNK, expected - size + 1))):
        stop.check()
        digest.update(chunk)
        if write:
            writer.write(chunk)
        size += len(chunk)
        told(len(chunk))
    return Sent(size, digest.hexdigest())
