"""The directory of a cache in which only this user writes.

::

    {cache}/                           if nobody else can write there: all of it is the user's
    {cache}/user-{uid}/                else: a directory of the user's own, mode 0700
    {cache}/user-{uid}-{random}/       if another user has taken that name

Several users may set one directory as their cache, typically one of mode 1777. What others put
there is neither used nor followed: a file is believed only if the user, or root, owns it, and
nobody else can write it.

Whoever may rename entries of a shared directory (its owner; everybody, if it is not sticky) can
put something else in the place of the user's directory at any moment. So the client opens its
directory once, checks it, and reaches everything below through that descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from itertools import islice

from gobbler.client.parallel import ForkSafeLock
from gobbler.fs import acl
from gobbler.fs.authorship import other_writers
from gobbler.fs.open import DIRECTORY

_SELF = "/proc/self/fd"

DIRECTORY_MODE = 0o755
PRIVATE_MODE = 0o700

_ATTEMPTS = 8
"""Names to try. More can fail only where the owner of a file is not the user who makes it."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_own(status: os.stat_result) -> bool:
    """Whether only this user or root can have written the file with this ``status``."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS_WRITE


def is_own_file(path: str) -> bool:
    """Whether ``path`` is a regular file that only this user or root can have written."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(status.st_mode) and is_own(status)


def is_own_directory(path: str) -> bool:
    """Whether ``path`` is a directory, no link, that this user or root owns."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid())


class UserDirectory:
    """The user's directory of the cache ``top``; made when it is first needed.

    ``path`` is its path, and ``work`` the path by which to reach what is in it: nobody else can
    make that lead elsewhere. Both change only in :meth:`open`.
    """

    def __init__(self, top: str) -> None:
        self._top = top
        self._lock = ForkSafeLock()
        # Other threads may still use the former ones, so all stay open as long as this object.
        self._descriptors: list[int] = []
        self.path = self.work = top

    def open(self) -> None:
        """Find the directory, or make it. Raises ``OSError`` if that fails."""
        with self._lock:
            if self._descriptors and self._is_still_there(self._descriptors[-1]):
                return
            _make(self._top)
            if _is_private(self._top, os.stat(self._top)):
                self.path = self.work = self._top
                return
            self.path, descriptor = _open_shared(self._top)
            self._descriptors.append(descriptor)
            work = f"{_SELF}/{descriptor}"
            self.work = work if os.path.isdir(work) else self.path

    def shown(self, path: str) -> str:
        """``path``, which is below :attr:`work`, as other programs can use it."""
        return os.path.join(self.path, os.path.relpath(path, self.work))

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(descriptor))
        except OSError:
            return False

    def __del__(self) -> None:
        while getattr(self, "_descriptors", None):
            with contextlib.suppress(OSError):
                os.close(self._descriptors.pop())


def user_directories(top: str) -> list[str]:
    """The directories of this user in the cache ``top``, without making one."""
    try:
        status = os.stat(top)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if _is_private(top, status):
        return [top]
    # Former releases used the shared directory itself.
    return [*_found(top), top]


def _make(top: str) -> None:
    if not os.path.isdir(top):
        os.makedirs(top, DIRECTORY_MODE, exist_ok=True)


def _is_private(top: str, status: os.stat_result) -> bool:
    """Whether only this user can write in the directory ``top`` with this ``status``."""
    if status.st_uid != os.geteuid() or not status.st_mode & _OTHERS_WRITE:
        return status.st_uid == os.geteuid()
    try:
        found = acl.read(top, acl.ACCESS_ACL)
    except (OSError, ValueError):
        return False
    return next(other_writers(status, found), None) is None


def _open_shared(top: str) -> tuple[str, int]:
    """The path of the user's directory in ``top``, and its descriptor."""
    first = os.path.join(top, _name())
    for path in islice(_candidates(top, first), _ATTEMPTS):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, PRIVATE_MODE)
        descriptor = _open_own(path)
        if descriptor is not None:
            return path, descriptor
    raise PermissionError(errno.EACCES, "a directory made there is not the user's own", top)


def _candidates(top: str, first: str) -> Iterator[str]:
    yield first
    yield from _found(top)
    while True:
        yield f"{first}-{secrets.token_hex(8)}"


def _found(top: str) -> list[str]:
    """The user's directories that are in ``top`` already."""
    try:
        names = os.listdir(top)
    except PermissionError:  # a directory that can't be listed
        names = [_name()]
    own = [os.path.join(top, name) for name in sorted(names) if _is_name(name)]
    return [path for path in own if _is_usable(path)]


def _name() -> str:
    return f"user-{os.geteuid()}"


def _is_name(name: str) -> bool:
    return name == _name() or name.startswith(f"{_name()}-")


def _is_usable(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and is_own(status)


def _open_own(path: str) -> int | None:
    """Open the directory ``path`` if only this user can write it."""
    try:
        descriptor = os.open(path, DIRECTORY)
    except OSError:  # a link, a file, a directory of another user
        return None
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and is_own(status):
        return descriptor
    os.close(descriptor)
    return None
