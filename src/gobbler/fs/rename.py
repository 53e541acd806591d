"""Renaming a file without replacing another."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

_AT_FDCWD = -100
_NOREPLACE = 1

_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_Rename = Callable[[int, bytes, int, bytes, int], int]


def _find_renameat2() -> _Rename | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # an old C library
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    found: _Rename = function
    return found


_renameat2 = _find_renameat2()


class NoReplaceUnsupported(OSError):
    """The filesystem can't rename without replacing (``EOPNOTSUPP``): NFS, for one."""


def rename_new(source: str, target: str) -> None:
    """Rename ``source`` to ``target``, atomically, unless there is something already.

    Raises ``FileExistsError`` if there is, ``FileNotFoundError`` if ``source`` is gone, and
    :class:`NoReplaceUnsupported` where neither the filesystem nor the C library has such a call.
    """
    number = errno.ENOSYS
    if _renameat2 is not None:
        done = _renameat2(
            _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE
        )
        if done == 0:
            return
        number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        text = "this filesystem can't rename without replacing"
        raise NoReplaceUnsupported(errno.EOPNOTSUPP, text, source, None, target)
    raise OSError(number, os.strerror(number), source, None, target)
