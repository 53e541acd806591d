"""Checksums of the files that are copied into staging; large ones while the service works.

The kernel copies a large file far faster than it can be hashed, so it is hashed while the service
hashes it, too. That reads the source a second time, mostly from memory; if it changed since it
was copied, the copy is read instead. Both stay open, because the service may move the copy.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

from gobbler.client.parallel import Stop
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.hash import hash_file, md5_of
from gobbler.model.progress import CancelCheck

WAITING = 32
"""Number of files that may wait to be hashed; each has two open descriptors."""


KEPT_BYTES = 64 << 20
"""Bytes of small files that may wait in memory to be hashed."""


THREAD_BYTES = 256 << 10
"""Bytes that are hashed in less time than a thread takes to start."""


class Sent(NamedTuple):
    """A file that was copied: its size in bytes and MD5."""

    size: int
    md5sum: str


_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Checksums:
    """The checksums of the files of an upload; ``concurrent`` files are hashed at a time.

    Use it in a ``with`` statement, which closes all files at its end.
    """

    def __init__(self, concurrent: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, concurrent), thread_name_prefix="gobbler-checksums")
        self._stop = Stop()
        self._places = threading.Semaphore(WAITING)
        self._known: dict[str, Sent] = {}
        self._running: dict[str, Future[Sent]] = {}
        self._kept: list[tuple[str, bytes]] = []
        self._kept_bytes = 0
        self._hashing: Future[None] | None = None

    def add(self, path: str, sent: Sent) -> None:
        """Add the checksum of the file ``path``, which is known already."""
        self._known[path] = sent

    def keep(self, path: str, data: bytes) -> None:
        """Add the checksum of the file ``path``, which has the content ``data``, later.

        See :meth:`begin`. What does not fit into memory besides other files is hashed at once.
        """
        if self._kept_bytes + len(data) > KEPT_BYTES:
            self._known[path] = Sent(len(data), md5_of(data))
            return
        self._kept.append((path, data))
        self._kept_bytes += len(data)

    def begin(self) -> None:
        """Hash the files that were kept, while this thread waits for something else."""
        if self._kept_bytes > THREAD_BYTES:
            self._hashing = self._pool.submit(self._hash_kept)

    def _hash_kept(self) -> None:
        for path, data in self._kept:
            self._stop.check()
            self._known[path] = Sent(len(data), md5_of(data))
        self._kept = []

    def compute(self, path: str, source: int, into: int, fingerprint: Fingerprint) -> bool:
        """Compute the checksum of the file ``path`` below the open directory ``into``.

        That goes on in the background. It is a copy of the open file ``source`` in the state
        ``fingerprint``. After this call it may be removed, and ``source`` and ``into`` closed.
        Returns ``False``, and computes nothing, if too many files wait already.
        """
        if not self._places.acquire(blocking=False):
            return False
        opened: list[int] = []
        try:
            opened.append(os.dup(source))
            # Opened for reading only: from now on it may belong to the service.
            opened.append(os.open(path, _READ, dir_fd=into))
            self._running[path] = self._pool.submit(self._hash, opened[0], opened[1], fingerprint)
        except BaseException:
            self._close(opened)
            raise
        self._running[path].add_done_callback(lambda _: self._close(opened))
        return True

    def result(self) -> dict[str, Sent]:
        """All checksums by path, once they are computed; ``OSError`` if a file can't be read."""
        if self._hashing is not None:
            self._hashing.result()
        self._hash_kept()
        return self._known | {path: future.result() for path, future in self._running.items()}

    def _close(self, opened: list[int]) -> None:
        for descriptor in opened:
            os.close(descriptor)
        self._places.release()

    def _hash(self, source: int, copy: int, fingerprint: Fingerprint) -> Sent:
        if Fingerprint.of(os.fstat(source)) == fingerprint:
            sent = self._read(source)
            if Fingerprint.of(os.fstat(source)) == fingerprint:
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
