"""Flushing to disk: what "acknowledged" means.

``full``: a change is acknowledged once it survives a power cut. One ``syncfs`` flushes a
whole publication, which is far cheaper than one ``fsync`` for each of thousands of files.

``relaxed``: a change survives the end of any process, but a power cut may lose the last
seconds and leave the version that was being written damaged. For scratch registries.
"""

from __future__ import annotations

import ctypes
import enum
import os

_libc = ctypes.CDLL(None, use_errno=True)


class Durability(str, enum.Enum):
    """How much is flushed before a change is acknowledged."""

    FULL = "full"
    RELAXED = "relaxed"


def flush_filesystem(path: str, durability: Durability) -> None:
    """Flush all that was written to the filesystem that holds ``path``.

    Raises ``OSError`` when the filesystem reports that something could not be written.
    """
    if durability is Durability.RELAXED:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def flush_directory(path: str, durability: Durability) -> None:
    """Flush the entries of the directory ``path``: what was renamed or made in it."""
    if durability is Durability.RELAXED:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
