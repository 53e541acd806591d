"""Bringing a directory into staging, from where the service takes it.

Copying one file into staging.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from typing import NamedTuple

from gobbler.client.checksums import Checksums, Sent, stamp_of
from gobbler.client.errors import NotThere
from gobbler.client.parallel import Stop, for_each
from gobbler.client.submit import staging_closed, staging_missing
from gobbler.errors import Fault, Refused, quoted
from gobbler.fs.atomic_write import write_all
from gobbler.fs.flush import write_out
from gobbler.fs.hash import CHUNK, copy_and_hash, hash_file
from gobbler.model.names import is_internal
from gobbler.model.progress import CancelCheck, Progress


def allocate_upload_directory(staging: str, *, create: bool = True) -> str:
    """The path of a directory in ``staging`` that is nobody else's.

    With ``create`` it is made, with the permissions that the umask and the ACLs of staging
    give, so that the service can read it.
    """
    while True:
        path = os.path.join(staging, f"upload-{secrets.token_hex(10)}")
        if os.path.lexists(path):
            continue
        if create:
            _make(path, staging)
        return path


def _make(path: str, staging: str) -> None:
    try:
        os.mkdir(path)
    except (FileNotFoundError, NotADirectoryError):
        raise staging_missing(staging) from None
    except PermissionError:
        raise staging_closed(staging) from None


class Staged(NamedTuple):
    """A directory that stands in staging: its bare name, and the path of it if it is our copy."""

    name: str
    copy: str | None

    @property
    def is_copy(self) -> bool:
        """Whether it was copied there for this upload."""
        return self.copy is not None

    def remove(self) -> None:
        """Remove what is left of a copy; what the service has consumed is gone already."""
        if self.copy is not None:
            shutil.rmtree(self.copy, ignore_errors=True)


@contextlib.contextmanager
def staged(
    directory: str,
    staging: str,
    *,
    ignore_dot: bool,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Iterator[Staged]:
    """What :func:`stage` answers, removed at the end of the block if it is a copy."""
    source = stage(
        directory,
        staging,
        ignore_dot=ignore_dot,
        concurrent=concurrent,
        progress=progress,
        checksums=checksums,
    )
    try:
        yield source
    finally:
        source.remove()


def stage(
    directory: str,
    staging: str,
    *,
    ignore_dot: bool,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Staged:
    """``directory`` itself if it stands directly in ``staging``, else a copy.

    Internal names, and with ``ignore_dot`` those that start with a dot, are not copied,
    since the service would not take them. ``concurrent`` files are copied at a time.
    ``checksums`` is told of theirs, or of the files to be hashed.
    """
    directory = os.path.abspath(directory)
    _check(directory, staging)
    parent, name = os.path.split(directory)
    if os.path.realpath(parent) == os.path.realpath(staging) and not os.path.islink(directory):
        return Staged(name, None)
    copy = allocate_upload_directory(staging, create=False)
    source = Staged(os.path.basename(copy), copy)

    def one(file: _File, stop: Stop) -> None:
        path, _ = file
        here, there = f"{directory}/{path}", f"{copy}/{path}"
        send(path, here, there, progress, stop, checksums)
        progress.advance(1, 0)

    try:
        _make(copy, staging)  # in here: Ctrl-C may come at the moment it is made
        files = list(_prepare(directory, copy, ignore_dot))
        # Large ones first: they are hashed while the others are copied.
        files.sort(key=lambda file: file[1].st_size < CHUNK)
        progress.expect(len(files), sum(status.st_size for _, status in files))
        for_each(one, files, concurrent)
    except BaseException:
        source.remove()
        raise
    return source


def _check(directory: str, staging: str) -> None:
    if not os.path.exists(directory):
        raise NotThere(f"the directory {quoted(directory)} is not there", directory)
    if not os.path.isdir(directory):
        raise Refused(f"{quoted(directory)} is not a directory", hint="Upload its directory.")
    real = os.path.realpath(directory)
    if os.path.commonpath([real, os.path.realpath(staging)]) == real:
        raise Refused(
            f"{quoted(directory)} holds the staging directory {staging} itself",
            hint="Upload one directory of it.",
        )


_File = tuple[str, os.stat_result]
"""A path below the source, and what the file was when it was listed."""


def _prepare(source: str, target: str, ignore_dot: bool) -> Iterator[_File]:
    """Make the directories and symlinks of ``source`` in ``target``; tell the files."""
    real_source = os.path.realpath(source)
    pending = [""]
    while pending:
        relative = pending.pop()
        with os.scandir(f"{source}/{relative}") as entries:
            for entry in entries:
                if is_internal(entry.name) or (ignore_dot and entry.name.startswith(".")):
                    continue
                path = f"{relative}/{entry.name}" if relative else entry.name
                copy = f"{target}/{path}"
                if entry.is_symlink():
                    link = os.readlink(entry.path)
                    os.symlink(_moved_link(link, relative, real_source), copy)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(copy)
                    pending.append(path)
                else:
                    yield path, _status(entry)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise Refused(
            f"{quoted(entry.path)} is neither a file, nor a directory, nor a symbolic link",
            hint="Remove it, or upload another directory.",
        )
    return status


def _moved_link(link: str, directory: str, source: str) -> str:
    """What the symlink ``link`` in ``directory`` of ``source`` must say in a copy of it.

    The copy means the same file: a link within the source is relative, so that it leads
    into the copy, and one that leaves it is absolute.
    """
    here = os.path.join(source, directory)
    meant = os.path.normpath(os.path.join(here, link))
    inside = meant.startswith(source + os.sep)
    if inside:
        return os.path.relpath(meant, here) if os.path.isabs(link) else link
    return link if os.path.isabs(link) else meant


READ_TWICE = 1 << 30
"""Bytes up to which a file is likely to be still in memory when it is read once more."""

_FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
"""What ``copy_file_range(2)`` says where it can't copy between two files."""


def send(
    path: str,
    source: str,
    target: str,
    progress: Progress,
    stop: Stop,
    checksums: Checksums | None,
) -> None:
    """Copy the file ``source`` to ``target``; it must be the same before and after.

    Where the filesystem can, both share their blocks, and nothing is written. ``progress``
    advances with every piece, and ``checksums`` is told, if there is somebody who wants them, of
    the checksum of ``path``. Raises :class:`~gobbler.errors.Fault` if the file changed.
    """
    reader = os.open(source, _READ)
    try:
        writer = os.open(target, _MAKE, 0o666)
        try:
            _copy(path, source, target, reader, writer, progress, stop, checksums)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


class _Copied:
    """The progress of one file of ``expected`` bytes; it must not grow meanwhile."""

    def __init__(self, source: str, expected: int, progress: Progress, stop: Stop) -> None:
        self._source = source
        self._expected = expected
        self._progress = progress
        self._stop = stop
        self.bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: one file is part of the whole."""

    def advance(self, files: int, size: int) -> None:
        self._stop.check()
        self._progress.advance(files, size)
        self.bytes += size
        if self.bytes > self._expected:  # it grows, as a log that is being written does
            raise _changed(self._source)


def _copy(
    path: str,
    source: str,
    target: str,
    reader: int,
    writer: int,
    progress: Progress,
    stop: Stop,
    checksums: Checksums | None,
) -> None:
    before = stamp_of(reader)
    expected = before[0]
    copied = _Copied(source, expected, progress, stop)
    sent: Sent | None = None
    if expected < CHUNK or (
        checksums is not None and expected > READ_TWICE and not _shares(reader, writer)
    ):
        sent = Sent(*copy_and_hash(reader, writer, expected, copied))
    elif not _shares(reader, writer):
        _copy_fast(reader, writer, copied)
    else:
        copied.advance(0, expected)
    if stamp_of(reader) != before or copied.bytes != expected:
        raise _changed(source)
    if checksums is None:
        return
    if sent is None and not checksums.compute(path, reader, target, before):
        os.lseek(writer, 0, os.SEEK_SET)
        sent = Sent(*hash_file(writer, CancelCheck(stop), expected))
    if sent is not None:
        checksums.add(path, sent)


def _copy_fast(reader: int, writer: int, progress: Progress) -> None:
    """Have the kernel copy all of it, or do so by hand where it can't."""
    try:
        copied = 0
        while count := os.copy_file_range(reader, writer, CHUNK):
            # It will be flushed before it is published: the disk may as well begin now.
            write_out(writer, copied, count, wait=False)
            copied += count
            progress.advance(0, count)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
        while part := os.read(reader, CHUNK):
            write_all(writer, part)
            progress.advance(0, len(part))


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
