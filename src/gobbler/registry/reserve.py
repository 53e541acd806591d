"""The reserve: a little space and a few inodes of the registry's filesystem, kept for removals.

::

    ..reserve/{number}      a file of one block

A removal writes a few small files before it frees anything: its lease, its intent, the new usage.
Where the disk is full, it frees the reserve first, so that a full disk can be relieved. The reserve
is filled again when there is space.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from gobbler.errors import Code, GobblerError, os_error_code
from gobbler.fs.atomic_write import DIRECTORY_MODE, remove_quietly, write_new
from gobbler.model.names import RESERVE
from gobbler.registry.registry import Registry

T = TypeVar("T")

RESERVE_FILES = 32
"""Number of files: more than a removal makes, and than the directories that it grows."""

BLOCK_BYTES = 4096

logger = logging.getLogger(__name__)


def fill_reserve(registry: Registry) -> None:
    """Make what is missing of the reserve. Never fails: without space, it stays as it is."""
    directory = registry.path(RESERVE)
    try:
        with suppress(FileExistsError):
            os.mkdir(directory, DIRECTORY_MODE)
        there = set(os.listdir(directory))
        for number in range(RESERVE_FILES):
            if str(number) not in there:
                _make(f"{directory}/{number}")
    except (GobblerError, OSError) as error:
        logger.debug("the reserve %s is not full: %s", directory, error)


def _make(path: str) -> None:
    try:
        # Some filesystems store zeros in no space at all.
        write_new(path, os.urandom(BLOCK_BYTES))
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # until then, the space may only be promised
        finally:
            os.close(descriptor)
    except FileExistsError:
        return  # another process fills it, too
    except BaseException:
        remove_quietly(path)
        raise


def _free_reserve(registry: Registry) -> bool:
    """Free the reserve; whether there was one."""
    directory = registry.path(RESERVE)
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        remove_quietly(f"{directory}/{name}")
    return bool(names)


def with_reserve(registry: Registry, remove: Callable[[], T]) -> T:
    """Call ``remove``, a removal that changes nothing if it fails; on a full disk, once again.

    The second time, it has the space of the reserve.
    """
    try:
        return remove()
    except (GobblerError, OSError) as error:
        if not _is_full(error) or not _free_reserve(registry):
            raise
        logger.warning("the disk is full: removing with the space of the reserve")
    try:
        return remove()
    finally:
        fill_reserve(registry)


def _is_full(error: GobblerError | OSError) -> bool:
    code = error.code if isinstance(error, GobblerError) else os_error_code(error)
    return code is Code.DISK_FULL
