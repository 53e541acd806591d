"""Checksums of what is copied into staging, the large ones while the service works.

A large file is copied by the kernel, far faster than it could be hashed, and hashed while the
service does so, too. That reads the source once more, from memory most often; if it has
changed since it was copied, the copy. Both are kept open, as the service may have moved the copy.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

from gobbler.client.parallel import Stop
from gobbler.fs.hash import hash_file
from gobbler.model.progress import CancelCheck

WAITING = 32
"""Files that are kept open at a time, twice each."""


class Sent(NamedTuple):
    """A file that was copied: its size in bytes and MD5."""

    size: int
    md5sum: str


Stamp = tuple[int, int]
"""What tells one state of an open file from another: its size, and time of change in ns."""


class Checksums:
    """Of the files of an upload, by path; ``concurrent`` files are hashed at a time.

    To be used in a ``with`` statement; nothing is under way or open any more at its end.
    """

    def __init__(self, concurrent: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, concurrent), thread_name_prefix="gobbler-checksums")
        self._stop = Stop()
        self._places = threading.Semaphore(WAITING)
        self._known: dict[str, Sent] = {}
        self._running: dict[str, Future[Sent]] = {}

    def add(self, path: str, sent: Sent) -> None:
        """The checksum of the file ``path`` is known."""
        self._known[path] = sent

    def compute(self, path: str, source: int, copy: str, stamp: Stamp) -> bool:
        """Compute that of the file ``copy``, which is one of the open ``source`` as of ``stamp``.

        The first may go then, and the other be closed. ``False`` if too many files wait already.
        """
        if not self._places.acquire(blocking=False):
            return False
        opened: list[int] = []
        try:
            opened.append(os.dup(source))
            # Not to be written to any more: it may be the service's from now on.
            opened.append(os.open(copy, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            self._running[path] = self._pool.submit(self._hash, opened[0], opened[1], stamp)
        except BaseException:
            self._close(opened)
            raise
        self._running[path].add_done_callback(lambda _: self._close(opened))
        return True

    def result(self) -> dict[str, Sent]:
        """All of them, once they are computed. Raises ``OSError`` if a file can't be read."""
        return self._known | {path: future.result() for path, future in self._running.items()}

    def _close(self, opened: list[int]) -> None:
        for descriptor in opened:
            os.close(descriptor)
        self._places.release()

    def _hash(self, source: int, copy: int, stamp: Stamp) -> Sent:
        if stamp_of(source) == stamp:
            sent = self._read(source)
            if stamp_of(source) == stamp:
                return sent
        return self._read(copy)

    def _read(self, descriptor: int) -> Sent:
        # A duplicated descriptor shares its position with the one that was copied from.
        os.lseek(descriptor, 0, os.SEEK_SET)
        expected = os.fstat(descriptor).st_size
        return Sent(*hash_file(descriptor, CancelCheck(self._stop), expected))

    def __enter__(self) -> Checksums:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)


def stamp_of(descriptor: int) -> Stamp:
    """The state of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
