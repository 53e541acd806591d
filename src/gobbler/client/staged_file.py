"""One file of a copy in staging: copied, and compared with what it was before."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from gobbler.client.checksums import Checksums, Sent
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop
from gobbler.errors import Code, Fault, Forbidden, quoted
from gobbler.fs.atomic_write import FILE_MODE, write_all
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.flush import write_out
from gobbler.fs.hash import CHUNK, FICLONE, copy_and_hash, hash_file
from gobbler.fs.sparse import HOLES_FROM, copy_parts, may_have_holes
from gobbler.model.progress import CancelCheck, Progress

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

MAKE_READABLE = "make the copy in staging readable for the service"

READ_TWICE = 1 << 30
"""Largest size in bytes of a file that is likely still in memory for a second read."""

SMALL_FILE = HOLES_FROM
"""Bytes of a file from which it is not read as a whole, and may have holes."""

_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
"""Errors of ``copy_file_range(2)`` where it can't copy between two files."""


class Unusual(Exception):
    """A small file is to be copied by :func:`send`, which also says what is wrong with it."""


def send_small(name: str, source: int, target: int, *, has_mode: bool) -> bytes:
    """Copy the small file ``name`` from one open directory to another; return its content.

    What :func:`send` does, with the fewest calls. Raises :class:`Unusual`, and has made nothing,
    unless it is a small file that can be read and does not change meanwhile.
    """
    try:
        reader = os.open(name, _READ, dir_fd=source)
    except OSError:
        raise Unusual from None
    try:
        before = os.fstat(reader)
        size = before.st_size
        if size >= SMALL_FILE or not stat.S_ISREG(before.st_mode):
            raise Unusual
        data = os.read(reader, size + 1)
        after = os.fstat(reader)
    finally:
        os.close(reader)
    if len(data) != size or after.st_mtime_ns != before.st_mtime_ns or after.st_size != size:
        raise Unusual
    writer = os.open(name, _MAKE, FILE_MODE, dir_fd=target)
    try:
        if not has_mode:
            with optional_step(MAKE_READABLE):
                os.fchmod(writer, FILE_MODE)
        write_all(writer, data)
    finally:
        os.close(writer)
    return data


def send(
    path: str,
    source: str,
    into: int,
    progress: Progress,
    stop: Stop,
    checksums: Checksums | None,
    *,
    has_mode: bool = False,
) -> None:
    """Copy the file ``source`` to ``path`` below the open directory ``into``.

    It must be the same before and after.

    With ``has_mode``, a new file has the mode that it is made with, whatever the umask. Where the
    filesystem supports it, both share their blocks, and nothing is written.
    ``progress`` advances with every piece; ``checksums`` receives the checksum of ``path``.
    Raises :class:`~gobbler.errors.Fault` if the file changed, and
    :class:`~gobbler.errors.Forbidden` if the user may not read it.
    """
    try:
        reader = os.open(source, _READ)
    except PermissionError:
        raise unreadable(source) from None
    try:
        writer = os.open(path, _MAKE, FILE_MODE, dir_fd=into)
        try:
            if not has_mode:
                with optional_step(MAKE_READABLE):
                    os.fchmod(writer, FILE_MODE)
            _copy(path, source, into, reader, writer, progress, stop, checksums)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


class _Copied:
    """The progress of one file of ``expected`` bytes, which must not grow."""

    def __init__(self, source: str, expected: int, progress: Progress, stop: Stop) -> None:
        self._source = source
        self._expected = expected
        self._progress = progress
        self._stop = stop
        self.bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: one file is part of the whole."""

    def advance(self, files: int, size: int) -> None:
        """Count ``size``, and report it."""
        self._stop.check()
        self._progress.advance(files, size)
        self.bytes += size
        if self.bytes > self._expected:  # a log that is being written, for example
            raise _changed(self._source)


def _copy(
    path: str,
    source: str,
    into: int,
    reader: int,
    writer: int,
    progress: Progress,
    stop: Stop,
    checksums: Checksums | None,
) -> None:
    status = os.fstat(reader)
    before = Fingerprint.of(status)
    expected = before.size
    copied = _Copied(source, expected, progress, stop)
    sent: Sent | None = None
    if expected < CHUNK or (
        checksums is not None and expected > READ_TWICE and not _shares(reader, writer)
    ):
        sent = Sent(*copy_and_hash(reader, writer, expected, copied))
    elif _shares(reader, writer):
        copied.advance(0, expected)
    elif may_have_holes(status):
        copy_parts(reader, writer, copied, lambda _: None)
    else:
        _copy_fast(reader, writer, copied)
    if Fingerprint.of(os.fstat(reader)) != before or copied.bytes != expected:
        raise _changed(source)
    if checksums is None:
        return
    if sent is None and not checksums.compute(path, reader, into, before):
        os.lseek(writer, 0, os.SEEK_SET)
        sent = Sent(*hash_file(writer, CancelCheck(stop), expected))
    if sent is not None:
        checksums.add(path, sent)


def _copy_fast(reader: int, writer: int, progress: Progress) -> None:
    """Let the kernel copy the file; copy it here where the kernel can't."""
    try:
        copied = 0
        while count := os.copy_file_range(reader, writer, CHUNK):
            # It will be flushed before it is published, so the disk can start now.
            write_out(writer, copied, count, wait=False)
            copied += count
            progress.advance(0, count)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        while part := os.read(reader, CHUNK):
            write_all(writer, part)
            progress.advance(0, len(part))


def _shares(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, FICLONE, reader)
    except OSError:
        return False
    return True


def _changed(source: str) -> Fault:
    return Fault(
        f"{quoted(source)} changed while it was copied",
        code=Code.SOURCE_CHANGED,
        hint="Wait until it is complete, and upload again.",
    )


def unreadable(source: str) -> Forbidden:
    """The error for a file that the user who uploads may not read."""
    return Forbidden(
        f"you may not read {quoted(source)}",
        code=Code.UNREADABLE,
        hint="Remove it, or ask its owner for the right to read it.",
    )
