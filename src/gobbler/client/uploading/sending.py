"""Copying one file into staging."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable

from gobbler.client.uploading.checksums import Checksums, Sent, stamp_of
from gobbler.client.workers import Stop
from gobbler.disk.flushing import write_out
from gobbler.disk.instep import CHUNK, read_in_step
from gobbler.disk.opening import read_all
from gobbler.disk.writing import write_all
from gobbler.errors import Fault, quoted

READ_TWICE = 1 << 30
"""Bytes up to which a file is likely to be still in memory when it is read once more."""

_FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
"""What ``copy_file_range(2)`` says where it can't copy between two files."""

Check = Callable[[int], None]


def send(
    path: str,
    source: str,
    target: str,
    told: Callable[[int], None],
    stop: Stop,
    checksums: Checksums | None,
) -> None:
    """Copy the file ``source`` to ``target``; it must be the same before and after.

    Where the filesystem can, both share their blocks, and nothing is written. ``told`` is
    told of every piece, in bytes, and ``checksums``, if there is somebody who wants them, of
    the checksum of ``path``. Raises :class:`~gobbler.errors.Fault` if the file changed.
    """
    reader = os.open(source, _READ)
    try:
        writer = os.open(target, _MAKE, 0o666)
        try:
            _copy(path, source, target, reader, writer, told, stop, checksums)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy(
    path: str,
    source: str,
    target: str,
    reader: int,
    writer: int,
    told: Callable[[int], None],
    stop: Stop,
    checksums: Checksums | None,
) -> None:
    before = stamp_of(reader)
    expected, read = before[0], 0

    def check(size: int) -> None:
        nonlocal read
        stop.check()
        told(size)
        read += size
        if read > expected:  # it grows, as a log that is being written does
            raise _changed(source)

    sent: Sent | None = None
    if expected < CHUNK:
        sent = _copy_small(reader, writer, expected, check)
    elif checksums is not None and expected > READ_TWICE and not _shares(reader, writer):
        sent = Sent(*read_in_step(reader, lambda part, _: write_all(writer, part), check))
    elif not _shares(reader, writer):
        _copy_fast(reader, writer, check)
    else:
        check(expected)
    if stamp_of(reader) != before or read != expected:
        raise _changed(source)
    if checksums is None:
        return
    if sent is None and not checksums.compute(path, reader, target, before):
        os.lseek(writer, 0, os.SEEK_SET)
        sent = Sent(*read_in_step(writer, lambda *_: None, lambda _: stop.check()))
    if sent is not None:
        checksums.add(path, sent)


def _copy_small(reader: int, writer: int, expected: int, check: Check) -> Sent:
    data = read_all(reader, expected)
    write_all(writer, data)
    check(len(data))
    return Sent(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


def _copy_fast(reader: int, writer: int, check: Check) -> None:
    """Have the kernel copy all of it, or do so by hand where it can't."""
    try:
        copied = 0
        while count := os.copy_file_range(reader, writer, CHUNK):
            # It will be flushed before it is published: the disk may as well begin now.
            write_out(writer, copied, count, wait=False)
            copied += count
            check(count)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
        while part := os.read(reader, CHUNK):
            write_all(writer, part)
            check(len(part))


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
