"""Open a path once, without following links; then check and use only the descriptor.

Users can replace any of their files at any moment. So a path is looked up once, and its kind,
owner, link count and content all come from that descriptor.

``openat2(2)`` opens a path of several directories in one call without following a link.
``/fetch`` needs it: one call for each directory on the way takes longer than reading a small
file.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import pwd
import shlex
import stat
from collections.abc import Callable
from typing import Any

from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.accounts import known_name
from gobbler.fs.os_errors import with_path

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags to read a file: do not follow a link, do not wait for the other end of a FIFO."""

DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


class _Closing:
    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)


def closing(descriptor: int) -> _Closing:
    """Close ``descriptor`` at the end of the block."""
    return _Closing(descriptor)


def open_directory(path: str) -> int:
    """Open a directory by a path that an administrator set, following links."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)


def enter_directory(path: str, parent: int | None = None) -> int:
    """Open a directory only to look up names in it, which needs no right to list it."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY, dir_fd=parent)


DirectoryCheck = Callable[[int], None]
"""Raises ``OSError`` for an open directory whose content must not be used."""


def open_beneath(directory: int, path: str, flags: int, check: DirectoryCheck | None = None) -> int:
    """Open the relative ``path`` below the open ``directory``, following no link.

    ``path`` is normalized: it has no empty, ``.`` or ``..`` component. ``check`` is called with
    each directory that is opened, also at the end of the path. Raises ``OSError``: ``ELOOP`` or
    ``ENOTDIR`` for a link on the way.
    """
    parent, slash, name = path.rpartition("/")
    current = directory
    try:
        for part in parent.split("/") if slash else ():
            deeper = os.open(part, DIRECTORY, dir_fd=current)
            if current != directory:
                os.close(current)
            current = deeper
            if check is not None:
                check(current)
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    finally:
        if current != directory:
            os.close(current)
    if check is not None and flags & os.O_DIRECTORY:
        try:
            check(found)
        except BaseException:
            os.close(found)
            raise
    return found


class Beneath:
    """Opens many paths below a directory, one after the other, like :func:`open_beneath`.

    Keeps the last directories open, since successive files mostly share a few directories. Use it
    in one thread at a time, and close it at the end.
    """

    KEPT = 16

    def __init__(self, directory: int, check: DirectoryCheck | None = None) -> None:
        self._directory = directory
        self._check = check
        self._kept: dict[str, int] = {}

    def open(self, path: str, flags: int) -> int:
        """Open the relative ``path``, following no link; see :func:`open_beneath`."""
        parent, _, name = path.rpartition("/")
        directory = self.enter(parent)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)

    def enter(self, path: str) -> int:
        """The open directory ``path``, until the next call; ``""`` is the top directory."""
        if not path:
            return self._directory
        found = self._kept.pop(path, None)
        if found is None:
            found = open_beneath(self._directory, path, DIRECTORY, self._check)
        self._kept[path] = found
        if len(self._kept) > self.KEPT:
            os.close(self._kept.pop(next(iter(self._kept))))
        return found

    def close(self) -> None:
        """Close the directories that are open."""
        while self._kept:
            os.close(self._kept.popitem()[1])


def kind_of(mode: int) -> str:
    """The kind of a file with this ``st_mode``, in words."""
    for test, words in (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return words
    return "neither a file nor a directory"


def open_users_file(directory: int, name: str, what: str, where: str) -> tuple[int, os.stat_result]:
    """Open the regular file ``name`` of a user in the open ``directory``, whose path is ``where``.

    ``what`` names it in the reason of an error, e.g. ``"request file"``. The caller closes the
    descriptor. Raises :class:`~gobbler.errors.Refused` for anything but a regular file with one
    link.
    """
    try:
        # Opening a device can have effects of its own, so its kind is checked first.
        seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(seen.st_mode):
            raise _not_a_file(seen.st_mode, what, name)
        descriptor = os.open(name, READ, dir_fd=directory)
    except OSError as error:
        hint = f"Let others read it: chmod 644 {shlex.quote(f'{where}/{name}')}"
        raise _not_opened(error, what, name, Code.MISSING_REQUEST, hint) from None
    try:
        with with_path(name):
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(status.st_mode, what, name)
        if status.st_nlink > 1:
            raise Refused(f"{what} {quoted(name)} has more than one hard link", code=Code.HARD_LINK)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def open_users_directory(
    directory: int, name: str, what: str, where: str
) -> tuple[int, os.stat_result]:
    """Open the directory ``name`` of a user in the open ``directory``, whose path is ``where``.

    The caller closes the descriptor. Raises :class:`~gobbler.errors.Refused` if it is missing, a
    link, or no directory.
    """
    try:
        descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    except OSError as error:
        hint = let_others_read(f"{where}/{name}")
        raise _not_opened(error, what, name, Code.MISSING_SOURCE, hint) from None
    try:
        with with_path(name):
            return descriptor, os.fstat(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _not_a_file(mode: int, what: str, name: str) -> Refused:
    return Refused(
        f"{what} {quoted(name)} is {kind_of(mode)}, not a regular file",
        code=Code.SYMBOLIC_LINK if stat.S_ISLNK(mode) else Code.NOT_A_FILE,
    )


def let_others_read(path: str) -> str:
    """The hint for a user's file or directory that the service may not read."""
    return f"Let others read it: chmod -R a+rX {shlex.quote(path)}"


def _not_opened(error: OSError, what: str, name: str, missing: Code, let_read: str) -> Exception:
    named = f"{what} {quoted(name)}"
    if error.errno == errno.ENOENT:
        return Refused(f"{named} does not exist in the staging directory", code=missing)
    if error.errno == errno.ELOOP:
        return Refused(f"{named} is a symbolic link", code=Code.SYMBOLIC_LINK)
    if error.errno == errno.ENOTDIR:
        return Refused(
            f"{named} is not a directory, or is a symbolic link", code=Code.NOT_A_DIRECTORY
        )
    if error.errno == errno.ENXIO:
        return Refused(f"{named} is a socket or a FIFO, not a regular file", code=Code.NOT_A_FILE)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refused(f"the service may not read {named}", code=Code.UNREADABLE, hint=let_read)
    if error.errno == errno.ENAMETOOLONG:
        return Refused(f"the name of {named} is too long", code=Code.INVALID_NAME)
    if error.errno == errno.EWOULDBLOCK:
        return Refused(
            f"the service can't open {named}: another process holds a lease on it",
            code=Code.FILE_IN_USE,
            hint="Write a new file that no process keeps open.",
        )
    return error


def user_name(uid: int) -> str:
    """The login of the account ``uid``; without an account, ``user ID`` and the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user ID {uid}"


def account_name(uid: int, what: str) -> str:
    """The login of the account ``uid``, the owner of ``what``.

    Raises :class:`~gobbler.errors.Forbidden` if there is no such account.
    """
    name = known_name(uid)
    if name is None:
        raise Forbidden(
            f"{what} belongs to user ID {uid}, which has no account here", code=Code.NO_ACCOUNT
        )
    return name


def exists(path: str) -> bool:
    """Whether ``path`` exists, as anything, also as a dangling link.

    Raises ``OSError`` if that is unknown, which does not mean "no".
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def read_all(descriptor: int, limit: int) -> bytes:
    """Read an open file to its end, but no more than ``limit`` + 1 bytes."""
    parts = []
    left = limit + 1
    while left and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


_AT_FDCWD = -100

_OPENAT2 = 437
"""The number of the call; it is the same on every architecture."""

_NO_SYMLINKS = 0x04
"""``RESOLVE_NO_SYMLINKS``: fail with ``ELOOP`` at any symbolic link."""

_CACHED = 0x20 | 0x01
"""``RESOLVE_CACHED | RESOLVE_NO_XDEV``: fail with ``EAGAIN`` where the kernel would have to wait
for a filesystem, and with ``EXDEV`` at the mount point of another one."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_SIZE = ctypes.sizeof(_OpenHow)

Opener = Callable[[int, str, int], int]


@functools.cache
def _how(flags: int, resolve: int) -> Any:  # noqa: ANN401 - what byref returns has no name
    """A pointer that a call of C takes as it is: this is done for each file that is read."""
    return ctypes.byref(_OpenHow(flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, resolve))


def _find_syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (
        *(ctypes.c_long, ctypes.c_int, ctypes.c_char_p),
        *(ctypes.POINTER(_OpenHow), ctypes.c_size_t),
    )
    function.restype = ctypes.c_long
    found: Callable[..., int] = function
    return found


_syscall = _find_syscall()


def _find_quick_syscall() -> Callable[..., int]:
    """The same for a call that never waits: it keeps the interpreter's lock, and checks no types.

    So it takes half as long.
    """
    function = ctypes.PyDLL(None).syscall
    function.restype = ctypes.c_long
    found: Callable[..., int] = function
    return found


_quick_syscall = _find_quick_syscall()
_QUICK_NUMBER, _QUICK_SIZE = ctypes.c_long(_OPENAT2), ctypes.c_size_t(_SIZE)


def _openat2(directory: int, path: str, flags: int, resolve: int = _NO_SYMLINKS) -> int:
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")  # as os.open says
    while True:
        descriptor = _syscall(_OPENAT2, directory, name, _how(flags, resolve), _SIZE)
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        # EAGAIN is an error: the holder of a lease on the file could repeat it for ever.
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def _open_cached(directory: int, path: str, flags: int) -> int:
    # The common case of _openat2, without the calls: this runs for each small file that is read.
    name = os.fsencode(path)
    if b"\0" not in name:
        how = _how(flags, _NO_SYMLINKS | _CACHED)
        descriptor = _quick_syscall(_QUICK_NUMBER, directory, name, how, _QUICK_SIZE)
        if descriptor >= 0:
            return descriptor
    try:
        return _openat2(directory, path, flags, _NO_SYMLINKS | _CACHED)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise BlockingIOError(errno.EAGAIN, "another filesystem", path) from None
        raise


def read_link(directory: int, path: str) -> str:
    """The text of the symbolic link ``path`` below a directory, following no other link.

    Raises ``OSError``: ``EINVAL`` for anything but a link, ``ELOOP`` or ``ENOTDIR`` for a link on
    the way.
    """
    parent, slash, name = path.rpartition("/")
    if not slash:
        return os.readlink(name, dir_fd=directory)
    with closing(opener()(directory, parent, DIRECTORY)) as opened:
        return os.readlink(name, dir_fd=opened)


@functools.cache
def opener() -> Opener:
    """The fastest function that opens a relative path below a directory, following no link.

    Where the kernel is older than 5.6, or a container forbids the call, this is
    :func:`~gobbler.fs.open.open_beneath`. Otherwise any link on the way is ``ELOOP``.
    """
    try:
        os.close(_openat2(_AT_FDCWD, ".", os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return open_beneath
    return _openat2


@functools.cache
def cached_opener() -> Opener | None:
    """Like :func:`opener`, for paths that the kernel has in its cache: it never waits.

    Raises ``BlockingIOError`` for any other path, and where another filesystem is mounted on the
    way. Even then, only local filesystems open without waiting: others ask a server. ``None`` where
    the kernel is older than 5.12 or a container forbids the call.
    """
    try:
        os.close(_open_cached(_AT_FDCWD, ".", os.O_PATH | os.O_DIRECTORY))
    except BlockingIOError:
        return _open_cached
    except OSError:
        return None
    return _open_cached
