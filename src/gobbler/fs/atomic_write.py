"""Writing files so that a reader sees the old content or the new content, never a part of it.

Writes are atomic by a rename. They are durable only after the directory has been flushed, too:
see :mod:`gobbler.fs.flush`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections.abc import Callable, Iterator

from gobbler.fs.os_errors import raising_fault

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


def write_new(path: str, data: bytes | Iterator[bytes], *, dir_fd: int | None = None) -> None:
    """Create the file ``path`` with the content ``data``, or its parts. Does *not* flush it.

    Raises ``FileExistsError`` if the file exists.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, FILE_MODE, dir_fd=dir_fd)
    with raising_fault("write", path):  # includes the close, where network filesystems write
        try:
            for part in (data,) if isinstance(data, bytes) else data:
                write_all(descriptor, part)
        finally:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, in as many writes as it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace(path: str, data: bytes, *, flush: bool, workspace: str | None = None) -> None:
    """Put ``data`` at ``path`` atomically: write it to a temporary file, and rename that.

    The temporary file is made beside ``path``, or in ``workspace``, a directory of the same
    filesystem; then a crash leaves it to the recovery of that workspace. With ``flush`` the
    content is on disk before the new name is visible. Does *not* flush the directory.
    """
    directory, name = os.path.split(path)
    # A leading ".." makes it an internal file to every reader of the protocol.
    beside = os.path.join(
        workspace or directory, f"..tmp-{name.lstrip('.')}-{secrets.token_hex(8)}"
    )
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with raising_fault("write", path):
            try:
                write_all(descriptor, data)
                if flush:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.rename(beside, path)
    except BaseException:
        remove_quietly(beside)
        raise


def remove_quietly(path: str) -> None:
    """Remove the file ``path`` if it exists and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        return


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
    """The filesystem can't rename without replacing (``EOPNOTSUPP``): NFS, for example."""


def rename_new(source: str, target: str) -> None:
    """Rename ``source`` to ``target`` atomically, without replacing another file.

    Raises ``FileExistsError`` if ``target`` exists, ``FileNotFoundError`` if ``source`` does not,
    and :class:`NoReplaceUnsupported` where the filesystem or the C library lacks the call.
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
