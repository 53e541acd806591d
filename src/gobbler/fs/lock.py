"""Locks that services share through the registry: ``flock(2)`` on files in it.

They are held for moments, never while data is copied or hashed. ``flock`` belongs to the
open file description: threads and processes are treated alike, and a lock vanishes with
its holder. On a few network mounts it silently succeeds for everybody, so what must be
right rests on rename and exclusive creation; locks only order the changes.


Taking turns within a process, in the order of coming.

``flock`` knows no queue: whoever polls at the right moment is next, and one who wants a
lock exclusively can be passed for ever by those who share it. So the threads of a process
queue up for each lock first. One that shares the lock passes the turn on as soon as it has
it; one that has it to itself keeps the turn as long. Those who wait to share it wait behind
one who came before them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gobbler.errors import Code, Fault
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.os_errors import with_path
from gobbler.model.progress import CancelToken, NeverCancelled

TIMEOUT = 60.0
"""Seconds after which a lock is given up; the Go service waits as long."""

FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.02


_NEVER_CANCELLED = NeverCancelled()

_cancel: ContextVar[CancelToken] = ContextVar("_cancel", default=_NEVER_CANCELLED)


@contextmanager
def cancellable(cancel: CancelToken) -> Iterator[None]:
    """Within the block, ``cancel`` ends the wait for a lock."""
    token = _cancel.set(cancel)
    try:
        yield
    finally:
        _cancel.reset(token)


@contextmanager
def locked(path: str, *, exclusive: bool, timeout: float = TIMEOUT) -> Iterator[None]:
    """Hold the lock file ``path``, which is made if it is missing, during the block.

    Raises :class:`~gobbler.errors.Fault` when it can't be had within ``timeout`` seconds,
    ``FileNotFoundError`` when its directory is gone, and
    :class:`~gobbler.errors.Cancelled` as :func:`cancellable` says.
    """
    deadline = time.monotonic() + timeout
    turns = enter(path)
    try:
        cancel = _cancel.get()
        if not turns.take(timeout, cancel):
            raise _not_free(path, timeout)
        passed_on = False
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
            try:
                operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                with with_path(path):
                    _keep_private(descriptor)
                    free = _wait_for(descriptor, operation, deadline, cancel)
                if not free:
                    raise _not_free(path, timeout)
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


def _wait_for(descriptor: int, operation: int, deadline: float, cancel: CancelToken) -> bool:
    # A blocking flock can't be given up after a time without signals, which threads
    # can't use; so the wait is a poll whose pauses grow and differ between waiters.
    pause = FIRST_PAUSE
    while not try_lock(descriptor, operation):
        cancel.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return True


def _not_free(path: str, timeout: float) -> Fault:
    return Fault(
        f"the lock {path} was not free within {timeout:g} seconds",
        code=Code.LOCK_TIMEOUT,
        hint="Another service is changing the same directory. Try again later.",
    )


CHECK_EVERY = 0.2
"""Seconds between two looks whether those who wait still want their turn."""


class FairQueue:
    """The queue of one process for one lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, timeout: float, cancel: CancelToken = _NEVER_CANCELLED) -> bool:
        """Wait for our turn, ``timeout`` seconds at most; whether it came.

        ``cancel`` ends the wait.
        """
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        deadline = time.monotonic() + timeout
        try:
            while not called.acquire(timeout=CHECK_EVERY):
                cancel.check()
                if time.monotonic() > deadline and self._withdraw(called):
                    return False
        except BaseException:
            if not self._withdraw(called):
                self.pass_on()
            raise
        return True

    def _withdraw(self, called: threading.Lock) -> bool:
        """Leave the queue; ``False`` if we were called at the very last moment."""
        with self._guard:
            if called not in self._waiting:
                return False
            self._waiting.remove(called)
            return True

    def pass_on(self) -> None:
        """Let the next one have its turn."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


_turns: dict[str, tuple[FairQueue, int]] = {}
_guard = threading.Lock()


def enter(path: str) -> FairQueue:
    """The queue for the lock ``path``, kept until each who entered has left."""
    with _guard:
        turns, users = _turns.get(path) or (FairQueue(), 0)
        _turns[path] = turns, users + 1
        return turns


def leave(path: str) -> None:
    """Forget the queue for the lock ``path``, if nobody else has entered."""
    with _guard:
        turns, users = _turns[path]
        if users == 1:
            del _turns[path]
        else:
            _turns[path] = turns, users - 1


def _start_anew() -> None:
    # A process that was forked has none of the threads that hold a turn.
    global _guard  # noqa: PLW0603 - a lock that may be held for ever is no use
    _guard = threading.Lock()
    _turns.clear()


os.register_at_fork(after_in_child=_start_anew)
