"""Reserves: a little space and a few inodes of a filesystem, kept for what relieves a full one.

::

    registry/..reserve/{number}             a file of one block
    staging/..requests/reserve/{number}

A removal writes a few small files before it frees anything: its lease, its intent, the new usage.
Where the disk is full, it frees a reserve first. The reserve is filled again when there is space.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

from gobbler.errors import Code, GobblerError, os_error_code
from gobbler.fs.atomic_write import DIRECTORY_MODE, remove_quietly, write_new
from gobbler.fs.lock import try_lock

T = TypeVar("T")

RESERVE_FILES = 32
"""Number of files: more than a removal makes, and than the directories that it grows."""

BLOCK_BYTES = 4096

HOLD_SECONDS = 2.0
"""Seconds to wait for a process that fills a reserve; then it is used as it is."""

_HOLD_PAUSE = 0.01

logger = logging.getLogger(__name__)

_turn = threading.Lock()
"""Held by who draws on a reserve, so that two requests do not need the same one at a time."""


_drawn: ContextVar[bool] = ContextVar("_drawn", default=False)


def is_drawn_on() -> bool:
    """Whether the caller works with the space of a reserve, because the disk is full."""
    return _drawn.get()


class Reserve:
    """The reserve in ``directory``, which only the service's account may change."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def fill(self) -> None:
        """Make what is missing, unless another process draws on the reserve.

        Never fails: without space, it stays as it is.
        """
        with suppress(OSError):
            os.mkdir(self.directory, DIRECTORY_MODE)
        with self.held(seconds=0.0) as is_held:
            if is_held:
                self.fill_held()

    @contextmanager
    def held(self, *, seconds: float) -> Iterator[bool]:
        """Keep other processes from filling; whether none did for ``seconds``.

        What a removal frees would be gone before it can be used.
        """
        descriptor = None
        with suppress(OSError):
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor is None or _is_locked_within(descriptor, seconds)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def fill_held(self) -> None:
        """Make what is missing, for the process that holds the reserve."""
        try:
            there = set(os.listdir(self.directory))
            for number in range(RESERVE_FILES):
                if str(number) not in there:
                    _make(f"{self.directory}/{number}")
        except (GobblerError, OSError) as error:
            logger.debug("the reserve %s is not full: %s", self.directory, error)

    def free(self, count: int = RESERVE_FILES) -> bool:
        """Free up to ``count`` files; whether there was one."""
        try:
            names = os.listdir(self.directory)[:count]
        except OSError:
            return False
        for name in names:
            remove_quietly(f"{self.directory}/{name}")
        return bool(names)


def _is_locked_within(descriptor: int, seconds: float) -> bool:
    """Lock an open directory; whether that succeeded, or locks are unknown there."""
    deadline = time.monotonic() + seconds
    with suppress(OSError):
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_HOLD_PAUSE)
    return True


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


def with_reserve(reserves: Sequence[Reserve], relieve: Callable[[], T]) -> T:
    """Call ``relieve``, which changes nothing if it fails; on a full disk, once again.

    The second time, it has the space of the ``reserves``.
    """
    try:
        return relieve()
    except (GobblerError, OSError) as error:
        if not is_full(error):
            raise
        first = error
    with _turn, ExitStack() as held:
        for reserve in reserves:
            held.enter_context(reserve.held(seconds=HOLD_SECONDS))
        freed = [reserve.free() for reserve in reserves]
        if not any(freed):
            raise first
        logger.warning("the disk is full: using the space of the reserve")
        token = _drawn.set(True)
        try:
            return relieve()
        finally:
            _drawn.reset(token)
            for reserve in reserves:
                reserve.fill_held()


def is_full(error: Exception) -> bool:
    """Whether ``error`` says that a filesystem, or the quota on it, is full."""
    if isinstance(error, GobblerError):
        return error.code is Code.DISK_FULL
    return isinstance(error, OSError) and os_error_code(error) is Code.DISK_FULL
