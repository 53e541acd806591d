"""How old something is that users may change at any moment, and removing it."""

from __future__ import annotations

import os
import shutil
import stat

from gobbler.disk.opening import DIRECTORY, closing

MAX_DEPTH = 256
"""Directories within directories; what is nested deeper is never called old."""


def is_older(directory: int, name: str, limit: float) -> bool:
    """Whether nothing at or below ``name`` in an open ``directory`` changed since ``limit``.

    ``limit`` is in seconds since the epoch. What can't be looked at is not old.
    """
    try:
        return _is_older(directory, name, limit, 0)
    except OSError:
        return False


def _is_older(directory: int, name: str, limit: float, depth: int) -> bool:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if max(status.st_mtime, status.st_ctime) >= limit or depth > MAX_DEPTH:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return True
    with closing(os.open(name, DIRECTORY, dir_fd=directory)) as inner, os.scandir(inner) as entries:
        return all(_is_older(inner, entry.name, limit, depth + 1) for entry in entries)


def remove(directory: int, name: str) -> bool:
    """Remove ``name`` in an open ``directory``, following no link; whether it is gone."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
