"""Free space: what will not fit is refused before anything is copied."""

from __future__ import annotations

import errno
import os

from gobbler.errors import Code, Fault, quoted
from gobbler.fs.sparse import may_have_holes


def free_space(path: str) -> int | None:
    """Bytes that this account can still write to the filesystem of ``path``; ``None`` if unknown.

    Only root may use what the filesystem keeps in reserve.
    """
    try:
        found = os.statvfs(path)
    except OSError:
        return None  # whoever writes there reports it
    if found.f_blocks == 0:
        return None  # a filesystem that does not say
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize


SHORT_SHARE = 64
"""Space is short if less than 1/64 of the bytes, or of the inodes, is free."""

AMPLE_BYTES = 16 << 30
AMPLE_INODES = 1 << 20
"""What is never short, however large the filesystem is."""


def is_short(path: str) -> bool:
    """Whether the filesystem of ``path`` has little space left, or few inodes."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize < min(
        found.f_blocks * found.f_frsize // SHORT_SHARE, AMPLE_BYTES
    ) or found.f_favail < min(found.f_files // SHORT_SHARE, AMPLE_INODES)


def capacity(path: str | int) -> int | None:
    """Bytes of the filesystem of ``path``, or of an open file, in all; ``None`` if unknown."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize or None


def has_impossible_holes(descriptor: int, status: os.stat_result) -> bool:
    """Whether an open file has holes, and more bytes than its whole filesystem."""
    if not may_have_holes(status):
        return False
    total = capacity(descriptor)
    return total is not None and status.st_size > total


def fits(path: str, needed: int) -> bool:
    """Whether ``needed`` bytes fit at ``path`` now, as far as is known."""
    free = free_space(path)
    return free is None or needed <= free


def reserve(path: str, needed: int) -> None:
    """Raise ``OSError`` (``ENOSPC``) at once if ``needed`` bytes do not fit at ``path``."""
    free = free_space(path)
    if free is not None and needed > free:
        text = f"{needed} bytes are needed, and {free} bytes are free"
        raise OSError(errno.ENOSPC, text, path)


def check_space(path: str, needed: int, what: str) -> None:
    """Raise :class:`~gobbler.errors.Fault` if ``needed`` bytes do not fit at ``path``.

    ``what`` needs them, in the message. That they fit now is no promise: others write, too.
    """
    free = free_space(path)
    if free is not None and needed > free:
        raise Fault(
            f"{what} needs {needed} bytes, but the filesystem of {quoted(path)} has {free} "
            "bytes free",
            code=Code.DISK_FULL,
            hint="Nothing was copied. Make room there, or ask its administrator.",
        )
