"""Locks: ``flock(2)`` on files, shared by threads, processes and services.

A lock is held for moments, never while data is copied or hashed. ``flock`` belongs to the open
file description: it treats threads and processes alike, and a lock ends with its holder. On some
network mounts it silently succeeds for everybody. So locks only order the
changes; the integrity of versions depends on rename and exclusive creation.

``flock`` has no queue: the process that polls at the right moment gets the lock, and
processes that share it can overtake an exclusive waiter for ever. So the threads of a process
first queue for each lock, in the order in which they arrive. A thread that acquires the lock shared
lets the next thread proceed at once; a thread that acquires it exclusively, when it releases it.
A thread that wants to share the lock waits behind an exclusive waiter that arrived earlier.
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
from typing import TYPE_CHECKING

from gobbler.errors import Code, Fault
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.os_errors import with_path

if TYPE_CHECKING:
    from gobbler.model.progress import CancelToken

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a lock; the Go service waits as long."""

_FIRST_POLL = 0.0005
_LONGEST_POLL = 0.02
"""Seconds between two attempts to take a lock file; the pauses grow."""

_CANCEL_POLL = 0.2
"""Seconds between two checks for cancellation of a thread in a queue."""

_cancel: ContextVar[CancelToken | None] = ContextVar("_cancel", default=None)


@contextmanager
def cancellable(cancel: CancelToken) -> Iterator[None]:
    """Within the block, ``cancel`` ends the wait for a lock."""
    token = _cancel.set(cancel)
    try:
        yield
    finally:
        _cancel.reset(token)


@contextmanager
def locked(path: str, *, exclusive: bool, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` during the block; the file is made if it is missing.

    Raises :class:`~gobbler.errors.Fault` with the code ``lock-timeout`` after ``timeout`` seconds
    (:data:`LOCK_TIMEOUT`),
    ``FileNotFoundError`` if the directory does not exist, and
    :class:`~gobbler.errors.Cancelled` within :func:`cancellable`.
    """
    timeout = LOCK_TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + timeout
    queue = _enter_queue(path)
    try:
        cancel = _cancel.get()
        if not queue.acquire(timeout, cancel):
            raise _timed_out(path, timeout)
        released = False
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
            try:
                operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                with with_path(path):
                    _make_private(descriptor)
                    free = _poll(descriptor, operation, deadline, cancel)
                if not free:
                    raise _timed_out(path, timeout)
                if not exclusive:
                    released = True
                    queue.release()
                yield
            finally:
                os.close(descriptor)
        finally:
            if not released:
                queue.release()
    finally:
        _leave_queue(path)


def _make_private(descriptor: int) -> None:
    # An account that can read a lock file can lock it, and block the service for ever. Other
    # services make lock files that everybody can read.
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


def _poll(descriptor: int, operation: int, deadline: float, cancel: CancelToken | None) -> bool:
    # Only a signal ends a blocking flock, and threads can't use signals. The pauses differ at
    # random, so that waiting processes do not poll at the same moments.
    pause = _FIRST_POLL
    while not try_lock(descriptor, operation):
        if cancel is not None:
            cancel.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
        pause = min(pause * 1.5, _LONGEST_POLL)
    return True


def _timed_out(path: str, timeout: float) -> Fault:
    return Fault(
        f"the lock {path} was not free within {timeout:g} seconds",
        code=Code.LOCK_TIMEOUT,
        hint="Another service is changing the same directory. Try again later.",
    )


class FairQueue:
    """The threads of this process that wait for one lock, in the order in which they came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float, cancel: CancelToken | None = None) -> bool:
        """Wait for the turn of this thread, ``timeout`` seconds at most; whether it came.

        ``cancel`` ends the wait.
        """
        with self._guard:
            if not self._held:
                self._held = True
                return True
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        deadline = time.monotonic() + timeout
        try:
            while not called.acquire(timeout=_CANCEL_POLL):
                if cancel is not None:
                    cancel.check()
                if time.monotonic() > deadline and self._withdraw(called):
                    return False
        except BaseException:
            if not self._withdraw(called):
                self.release()
            raise
        return True

    def _withdraw(self, called: threading.Lock) -> bool:
        """Leave the queue; ``False`` if the turn has come at the last moment."""
        with self._guard:
            if called not in self._waiting:
                return False
            self._waiting.remove(called)
            return True

    def release(self) -> None:
        """Let the next thread proceed."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


_queues: dict[str, tuple[FairQueue, int]] = {}
"""The queue of each lock, and the number of threads that use it."""

_guard = threading.Lock()


def _enter_queue(path: str) -> FairQueue:
    with _guard:
        queue, users = _queues.get(path) or (FairQueue(), 0)
        _queues[path] = queue, users + 1
        return queue


def _leave_queue(path: str) -> None:
    with _guard:
        queue, users = _queues[path]
        if users == 1:
            del _queues[path]
        else:
            _queues[path] = queue, users - 1


def _reset_after_fork() -> None:
    # The child has none of the threads that hold or await a lock.
    global _guard  # noqa: PLW0603 - another thread of the parent may have held it
    _guard = threading.Lock()
    _queues.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
