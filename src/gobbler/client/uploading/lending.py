"""Lending a file to staging: another name for it there, instead of a copy.

That takes neither time nor space, and the service, which reads all that it publishes, reads
the file itself. For as long as the other name is there, whoever may change the file by its
mode can do so by that name; so only files that nobody but their owner may change are lent.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

from gobbler.client.uploading.sending import Sent
from gobbler.client.workers import Stop, for_each
from gobbler.errors import Fault, quoted

CHUNK = 1 << 20

_ACL = "system.posix_acl_access"

_CHANGEABLE = stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class Lent(NamedTuple):
    """A file that was lent: its path, and its inode, size and time of change (ns) then."""

    path: str
    inode: int
    size: int
    modified: int


def lend(source: str, target: str, status: os.stat_result) -> Lent | None:
    """Give the file ``source``, whose ``status`` that is, the name ``target``, too.

    ``None`` if it has to be copied: it is somebody else's, others may change it or may not
    read it, or it is on another filesystem, or on one that has no hard links.
    """
    if not _may_be_lent(status, os.geteuid()):
        return None
    try:
        if _ACL in os.listxattr(source, follow_symlinks=False):
            return None
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        return None  # if it is about the file itself, copying it fails as well, and tells
    return Lent(source, status.st_ino, status.st_size, status.st_mtime_ns)


def check_unchanged(lent: Lent) -> None:
    """Raise :class:`~gobbler.errors.Fault` if a file has changed since it was lent."""
    try:
        status = os.stat(lent.path, follow_symlinks=False)
    except OSError:
        raise _changed(lent) from None
    if _is_other(lent, status):
        raise _changed(lent)


def _may_be_lent(status: os.stat_result, user: int) -> bool:
    mode = status.st_mode
    return status.st_uid == user and not mode & _CHANGEABLE and bool(mode & stat.S_IROTH)


class Checksums:
    """The checksums of lent ``files`` (by their paths in the upload), while others wait.

    To be used in a ``with`` statement, at the end of which nobody computes any more.
    ``concurrent`` files are read at a time.
    """

    def __init__(self, files: Mapping[str, Lent], concurrent: int) -> None:
        self._files = files
        self._concurrent = concurrent
        self._given_up = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gobbler-checksums")
        self._running: Future[dict[str, Sent]] | None = None

    def __enter__(self) -> Checksums:
        if self._files:
            self._running = self._pool.submit(self._all)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._given_up.set()
        self._pool.shutdown()

    def result(self) -> dict[str, Sent]:
        """Size and MD5 of each file.

        Raises :class:`~gobbler.errors.Fault` if one has changed since it was lent.
        """
        return {} if self._running is None else self._running.result()

    def _all(self) -> dict[str, Sent]:
        found: dict[str, Sent] = {}

        def one(item: tuple[str, Lent], stop: Stop) -> None:
            if not self._given_up.is_set():
                found[item[0]] = _checksum(item[1], lambda: self._check(stop))

        for_each(one, self._files.items(), self._concurrent)
        return found

    def _check(self, stop: Stop) -> None:
        if self._given_up.is_set():
            stop.set()
        stop.check()


def _checksum(lent: Lent, check: Callable[[], None]) -> Sent:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        descriptor = os.open(lent.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise _changed(lent) from None
    try:
        if _is_other(lent, os.fstat(descriptor)):
            raise _changed(lent)
        buffer = memoryview(bytearray(min(CHUNK, lent.size + 1)))
        while count := os.readv(descriptor, [buffer]):
            check()
            digest.update(buffer[:count])
            size += count
        if size != lent.size or _is_other(lent, os.fstat(descriptor)):
            raise _changed(lent)
    finally:
        os.close(descriptor)
    return Sent(size, digest.hexdigest())


def _is_other(lent: Lent, status: os.stat_result) -> bool:
    return (status.st_ino, status.st_size, status.st_mtime_ns) != lent[1:]


def _changed(lent: Lent) -> Fault:
    return Fault(
        f"{quoted(lent.path)} changed while it was uploaded",
        hint="Wait until it is complete, and upload again.",
    )
