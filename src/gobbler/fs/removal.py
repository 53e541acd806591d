"""Remove files and directories that other processes may change at any moment."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from gobbler.fs.open import DIRECTORY, closing, enter_directory

_REMOVE_ROUNDS = 5
"""Attempts to remove a tree. Most writers find their directory gone after the first."""


def is_older(directory: int, name: str, limit: float) -> bool:
    """Whether nothing at or below ``name`` in an open ``directory`` was modified since ``limit``.

    ``limit`` is in seconds since the epoch. Unreadable files do not count as old. Goes
    by the modification time, which ``cp -p`` and ``rsync -a`` copy.
    """

    def is_old(parent: int, entry: str) -> bool:
        status = os.stat(entry, dir_fd=parent, follow_symlinks=False)
        if status.st_mtime >= limit:
            raise _Newer
        return stat.S_ISDIR(status.st_mode)

    def enter(opened: int) -> list[str]:
        return [entry for entry in os.listdir(opened) if is_old(opened, entry)]

    try:
        if is_old(directory, name):
            walk(directory, name, enter, lambda _parent, _name: None)
    except (OSError, _Newer):
        return False
    return True


class _Newer(Exception):
    """An entry is newer than the limit."""


def remove(directory: int, name: str, *, unchanged_since: float = math.inf) -> bool:
    """Remove ``name`` in an open ``directory``, following no link; whether it is gone.

    If something below it can't be removed, removes the rest. Stops at a directory that has changed
    ``unchanged_since``, in seconds since the epoch: its owner needs it again, or makes directories
    faster than they can be removed.
    """
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return _remove_tree(directory, name, unchanged_since) is None
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except (OSError, _Newer):
        return False
    return True


def remove_slowly(directory: int, name: str, pace: Callable[[], None]) -> OSError | None:
    """Remove the tree ``name`` in an open ``directory``; the first error, or ``None``.

    ``pace`` is called for each entry: it may wait, or raise. Nothing on another filesystem is
    removed; what is added meanwhile is.
    """
    device = os.fstat(directory).st_dev
    for _ in range(_REMOVE_ROUNDS):
        error = _remove_tree(directory, name, pace=pace, device=device)
        if error is None or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            break
    return error


def _remove_tree(
    directory: int,
    name: str,
    unchanged_since: float = math.inf,
    pace: Callable[[], None] = lambda: None,
    device: int | None = None,
) -> OSError | None:
    """Remove what can be removed; the first error, or ``None`` if it is gone.

    Raises :class:`_Newer` at a directory that has changed ``unchanged_since``.
    """
    errors: list[OSError] = []

    def enter(opened: int) -> list[str]:
        status = os.fstat(opened)
        if max(status.st_mtime, status.st_ctime) >= unchanged_since:
            raise _Newer
        if device is not None and status.st_dev != device:
            raise OSError(errno.EXDEV, "another filesystem is mounted there")
        deeper = []
        with os.scandir(opened) as entries:
            found = list(entries)
        # In this order, a filesystem changes each of its blocks of inodes once.
        found.sort(key=os.DirEntry.inode)
        for entry in found:
            pace()
            try:
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=opened)
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(error)
        return deeper

    def leave(parent: int, entry: str) -> None:
        try:
            os.rmdir(entry, dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError as error:
            errors.append(error)

    walk(directory, name, enter, leave, errors)
    return errors[0] if errors else None


class _Entered(NamedTuple):
    """A directory that the walk is in: its name, its identity, and what is still to be entered."""

    name: str
    identity: tuple[int, int]
    deeper: list[str]


def walk(
    directory: int,
    name: str,
    enter: Callable[[int], list[str]],
    leave: Callable[[int, str], None],
    errors: list[OSError] | None = None,
) -> None:
    """Walk the tree ``name`` in an open ``directory``, however deep users have made it.

    ``enter`` gets each open directory, and returns the names of its directories to be walked;
    ``leave`` gets the open parent and the name of a directory that was walked. Follows no link, and
    keeps one directory open: it goes up by ``..``, and makes sure that it gets to where it came
    from. ``directory`` itself, such as staging, need not be readable. Directories that can't be
    entered are left at once, and added to ``errors``; without ``errors`` their ``OSError`` is
    raised.
    """
    stack: list[_Entered] = []
    current = os.dup(directory)
    try:
        waiting = [name]
        while waiting or stack:
            if waiting:
                entry = waiting.pop()
                try:
                    inner = os.open(entry, DIRECTORY, dir_fd=current)
                except OSError as error:
                    if errors is None:
                        raise
                    if not isinstance(error, FileNotFoundError):
                        errors.append(error)
                    leave(current, entry)
                    continue
                try:
                    stack.append(_Entered(entry, _identity(current), waiting))
                except BaseException:
                    os.close(inner)
                    raise
                os.close(current)
                current = inner
                waiting = _listed(enter, current, errors)
                continue
            entered = stack.pop()
            above = enter_directory("..", current)
            os.close(current)
            current = above
            if _identity(current) != entered.identity:
                raise OSError(errno.ESTALE, "the directory was moved meanwhile", entered.name)
            leave(current, entered.name)
            waiting = entered.deeper
    finally:
        os.close(current)


def _listed(
    enter: Callable[[int], list[str]], opened: int, errors: list[OSError] | None
) -> list[str]:
    try:
        return enter(opened)
    except OSError as error:
        if errors is None:
            raise
        errors.append(error)
        return []


def _identity(opened: int) -> tuple[int, int]:
    status = os.fstat(opened)
    return status.st_dev, status.st_ino


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a directory and everything below it, also files that are added meanwhile.

    Raises ``OSError`` if that fails, or if there is no such directory. The account need not be able
    to list the directory above.
    """
    path = os.fspath(path)
    parent, name = os.path.split(path.rstrip("/"))
    with closing(enter_directory(parent or ".")) as directory:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        for left in reversed(range(_REMOVE_ROUNDS)):
            error = _remove_tree(directory, name)
            if error is None:
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not left:
                error.filename = path
                raise error


def remove_tree_quietly(path: str | os.PathLike[str]) -> None:
    """Remove what can be removed of a directory, if there is one."""
    try:
        remove_tree(path)
    except OSError:
        return
