"""Open a path in one call without following any link: ``openat2(2)``.

``/fetch`` needs it: one call for each directory on the way takes longer than reading a small file.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable

from gobbler.fs.open import DIRECTORY, closing, open_beneath

_AT_FDCWD = -100

_OPENAT2 = 437
"""The number of the call; it is the same on every architecture."""

_NO_SYMLINKS = 0x04
"""``RESOLVE_NO_SYMLINKS``: fail with ``ELOOP`` at any symbolic link."""

_CACHED = 0x20 | 0x01
"""``RESOLVE_CACHED | RESOLVE_NO_XDEV``: fail with ``EAGAIN`` where the kernel would have to wait
for a filesystem, and with ``EXDEV`` at the mount point of another one."""


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_SIZE = ctypes.sizeof(_How)

Opener = Callable[[int, str, int], int]


@functools.cache
def _how(flags: int, resolve: int) -> _How:
    return _How(flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, resolve)


def _find_syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (
        *(ctypes.c_long, ctypes.c_int, ctypes.c_char_p),
        *(ctypes.POINTER(_How), ctypes.c_size_t),
    )
    function.restype = ctypes.c_long
    found: Callable[..., int] = function
    return found


_syscall = _find_syscall()


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
    way. That the open itself does not wait holds for local filesystems: others ask a server.
    ``None`` where the kernel is older than 5.12 or a container forbids the call.
    """
    try:
        os.close(_open_cached(_AT_FDCWD, ".", os.O_PATH | os.O_DIRECTORY))
    except BlockingIOError:
        return _open_cached
    except OSError:
        return None
    return _open_cached
