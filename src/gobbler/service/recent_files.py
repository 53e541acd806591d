"""Small files that were read a moment ago, so that those which many ask for are not opened again.

Records and metadata of a registry are read again and again. A file is kept in memory for a second
after it was opened and checked; until then, one ``stat(2)`` shows whether it is still the same.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

VALID_FOR = 1.0
"""Seconds after which a file is opened and checked again: who may not read it any more, or would
reach it by a link now, gets it no longer than that."""

SETTLED_AFTER = 2.0
"""Seconds without a change before a file is kept: two changes within one tick of the filesystem's
clock can't be told apart."""

LARGEST = 16 * 1024
"""Bytes up to which a file is kept."""

BUDGET = 4 * 1024 * 1024
"""Bytes of all files that are kept."""

MOST = 1024
"""Files that are kept."""


class _Kept(NamedTuple):
    until: float
    status: os.stat_result
    fingerprint: tuple[int, int, int, int]
    content: bytes


class RecentFiles:
    """Keeps small files below the open ``directory``; for one thread.

    The directory is on a local filesystem, which answers ``stat`` for a path that was just opened
    without waiting.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._kept: dict[str, _Kept] = {}
        self._size = 0

    def get(self, path: str) -> tuple[os.stat_result, bytes] | None:
        """Status and content of the file at ``path``, if they are known, and are still the same."""
        kept = self._kept.get(path)
        if kept is None:
            return None
        try:
            if time.monotonic() < kept.until:
                now = os.stat(path, dir_fd=self._directory, follow_symlinks=False)
                if _fingerprint(now) == kept.fingerprint:
                    return kept.status, kept.content
        except OSError:
            pass  # whoever opens it says why
        self._forget(path)
        return None

    def keep(self, path: str, status: os.stat_result, content: bytes) -> None:
        """Keep the whole content of a file that was just opened and checked."""
        size = len(content)
        if size > LARGEST or time.time() - status.st_ctime < SETTLED_AFTER:
            return
        self._forget(path)
        until = time.monotonic() + VALID_FOR
        self._kept[path] = _Kept(until, status, _fingerprint(status), content)
        self._size += size
        while self._size > BUDGET or len(self._kept) > MOST:
            self._forget(next(iter(self._kept)))

    def _forget(self, path: str) -> None:
        kept = self._kept.pop(path, None)
        if kept is not None:
            self._size -= len(kept.content)


def _fingerprint(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size
