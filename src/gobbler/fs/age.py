"""The age of a tree that a user may change at any moment: that of its newest change."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from gobbler.fs.open import DIRECTORY


def is_unchanged(directory: int, name: str, limit: float) -> bool:
    """Whether nothing at or below ``name`` in an open directory has changed since ``limit``.

    ``limit`` is in seconds since the epoch. A change is what sets the modification time or the
    status change time; nobody can set the latter, so a fresh copy with old modification times
    (``cp -a``, ``rsync -a``) has just changed. Follows no link, stays on one filesystem, and works
    at any depth. What can't be read counts as changed.
    """
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not _is_before(status, limit):
            return False
        if not stat.S_ISDIR(status.st_mode):
            return True
        walk = _Walk(os.open(name, DIRECTORY, dir_fd=directory), limit)
        try:
            return walk.finds_no_change()
        finally:
            walk.close()
    except OSError:
        return False


def _is_before(status: os.stat_result, limit: float) -> bool:
    return max(status.st_mtime, status.st_ctime) < limit


class _Level(NamedTuple):
    """A directory that was entered, and the names of its directories that are left to enter."""

    device: int
    inode: int
    pending: list[str]


class _Walk:
    """A walk with one open directory at a time: a tree may be deeper than files may be open."""

    def __init__(self, directory: int, limit: float) -> None:
        self._current = directory
        self._limit = limit
        self._levels: list[_Level] = []

    def close(self) -> None:
        """Close the open directory."""
        os.close(self._current)

    def finds_no_change(self) -> bool:
        """Whether nothing in the directory has changed since the limit."""
        if not self._enter():
            return False
        while True:
            pending = self._levels[-1].pending
            if pending:
                self._open(pending.pop())
                if not self._enter():
                    return False
            else:
                self._levels.pop()
                if not self._levels:
                    return True
                self._open("..")
                status, above = os.fstat(self._current), self._levels[-1]
                if (status.st_dev, status.st_ino) != (above.device, above.inode):
                    return False  # it was moved just now

    def _open(self, name: str) -> None:
        opened = os.open(name, DIRECTORY, dir_fd=self._current)
        os.close(self._current)
        self._current = opened

    def _enter(self) -> bool:
        """Look at all that is in the open directory; whether all of it is old enough."""
        status = os.fstat(self._current)
        if self._levels and status.st_dev != self._levels[0].device:
            return False  # another filesystem is mounted there
        level = _Level(status.st_dev, status.st_ino, [])
        with os.scandir(self._current) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if not _is_before(found, self._limit):
                    return False
                if stat.S_ISDIR(found.st_mode):
                    level.pending.append(entry.name)
        self._levels.append(level)
        return True
