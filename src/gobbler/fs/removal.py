"""Remove files and directories that other processes may change at any moment."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from gobbler.fs.open import DIRECTORY, closing

_MAX_DEPTH = 256
"""Depth of nested directories; a deeper tree never counts as old."""

_REMOVE_ROUNDS = 5
"""Attempts to remove a tree. Most writers find their directory gone after the first."""


def is_older(directory: int, name: str, limit: float) -> bool:
    """Whether nothing at or below ``name`` in an open ``directory`` was modified since ``limit``.

    ``limit`` is in seconds since the epoch. Unreadable files do not count as old. Goes
    by the modification time, which ``cp -p`` and ``rsync -a`` copy.
    """
    try:
        return _is_older(directory, name, limit, 0)
    except OSError:
        return False


def _is_older(directory: int, name: str, limit: float, depth: int) -> bool:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if status.st_mtime >= limit or depth > _MAX_DEPTH:
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
            _remove_tree(directory, name)
        else:
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_tree(directory: int, name: str) -> None:
    with closing(os.open(name, DIRECTORY, dir_fd=directory)) as inner:
        with os.scandir(inner) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in found:
            if is_directory:
                _remove_tree(inner, child)
            else:
                os.unlink(child, dir_fd=inner)
    os.rmdir(name, dir_fd=directory)


def remove_tree(path: str) -> None:
    """Remove a directory and everything below it, also files that are added meanwhile.

    Raises ``OSError`` if that fails.
    """
    for left in reversed(range(_REMOVE_ROUNDS)):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not left:
                raise
        else:
            return
