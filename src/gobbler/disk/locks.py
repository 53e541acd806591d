"""Locks that services share through the registry: ``flock(2)`` on files in it.

They are held for moments, never while data is copied or hashed. ``flock`` belongs to the
open file description: threads and processes are treated alike, and a lock vanishes with
its holder. On a few network mounts it silently succeeds for everybody, so what must be
right rests on rename and exclusive creation; locks only order the changes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gobbler.disk.naming import at
from gobbler.disk.turns import enter, leave
from gobbler.disk.writing import PRIVATE_FILE_MODE
from gobbler.errors import Fault

PATIENCE = 60.0
"""Seconds after which a lock is given up; the Go service waits as long."""

FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.02


_still_wanted: ContextVar[Callable[[], None]] = ContextVar("_still_wanted", default=lambda: None)


@contextmanager
def giving_up(check: Callable[[], None]) -> Iterator[None]:
    """Within the block, whoever waits for a lock calls ``check``, which may raise."""
    token = _still_wanted.set(check)
    try:
        yield
    finally:
        _still_wanted.reset(token)


@contextmanager
def locked(path: str, *, exclusive: bool, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file ``path``, which is made if it is missing, during the block.

    Raises :class:`~gobbler.errors.Fault` when it can't be had within ``patience`` seconds,
    ``FileNotFoundError`` when its directory is gone, and what :func:`giving_up` lets it.
    """
    deadline = time.monotonic() + patience
    turns = enter(path)
    try:
        check = _still_wanted.get()
        if not turns.take(patience, check):
            raise _not_free(path, patience)
        passed_on = False
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
            try:
                operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                with at(path):
                    _keep_private(descriptor)
                    free = _wait_for(descriptor, operation, deadline, check)
                if not free:
                    raise _not_free(path, patience)
                if not exclusive:
                    passed_on = True
                    turns.pass_on()
                yield
            finally:
                os.close(descriptor)
        finally:
            if not passed_on:
                turns.pass_on()
    finally:
        leave(path)


def _keep_private(descriptor: int) -> None:
    # Whoever can read a lock file can lock it, and hold up the service for ever; other
    # services make them readable for all.
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE_FILE_MODE)


def try_lock(descriptor: int, operation: int) -> bool:
    """Take the lock on an open file if it is free; whether it was."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _wait_for(descriptor: int, operation: int, deadline: float, check: Callable[[], None]) -> bool:
    # A blocking flock can't be given up after a time without signals, which threads
    # can't use; so the wait is a poll whose pauses grow and differ between waiters.
    pause = FIRST_PAUSE
    while not try_lock(descriptor, operation):
        check()
        if time.monotonic() > deadline:
            return False
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return True


def _not_free(path: str, patience: float) -> Fault:
    return Fault(
        f"the lock {path} was not free within {patience:g} seconds",
        hint="Another service is changing the same directory; try again later.",
    )
