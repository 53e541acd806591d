"""A pool of processes on this host, for batches of many small files.

Such files are bound by the interpreter, whose threads take turns; processes do not. A pool starts
when a request needs it, and ends when none has needed it for a while. No request waits for it:
whoever finds no free process runs a batch in a thread instead.

Its processes write into the tree directly, which a remote executor may not do. For a batch runs
twice only if its process has died, and that is known for certain: the process alone has one end of
its channel, which the kernel closes when it can make no more calls.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from subprocess import SubprocessError

from gobbler.transfer import pool_mother
from gobbler.transfer.pool_channel import Channel
from gobbler.transfer.pool_mother import Mother, Unusable

IDLE_SECONDS = 10.0
"""Seconds after which a pool that nobody uses ends: its memory is worth more than its start."""

WANTED_SECONDS = 1.0
"""Seconds for which users give processes back that another user has asked for in vain."""

RETRY_SECONDS = 5.0
"""Seconds after the death of a process in which no other pool is started."""

START_RETRY_SECONDS = 60.0
"""Seconds after a pool could not be started in which it is not tried again."""

logger = logging.getLogger(__name__)

_pools: weakref.WeakSet[LocalPool] = weakref.WeakSet()


class LocalPool:
    """Up to ``processes`` processes. Any number of threads may use it.

    ``mother``: the process ID of their mother, if they are there.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None
        self.mother: int | None = None
        self._free: list[Channel] = []
        self._lent = 0
        self._users = 0
        self._used = self._not_before = 0.0
        self._wanted = -WANTED_SECONDS
        self._is_ending = self._is_closed = False

    def join(self) -> None:
        """Count one more user, who will :meth:`leave`. Starts the pool if there is none."""
        with self._changed:
            self._users += 1
            self._start()

    def _start(self) -> None:
        self._used = time.monotonic()
        if self._keeper is None and not self._is_closed and self._used >= self._not_before:
            self._keeper = threading.Thread(target=self._keep, name="pool", daemon=True)
            try:
                self._keeper.start()
            except RuntimeError as error:  # this account may have no more threads
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        logger.warning("batches run in threads only, since no pool can be started: %s", error)
        self._not_before = time.monotonic() + START_RETRY_SECONDS
        self._keeper = None

    def leave(self) -> None:
        """Count one user less."""
        with self._changed:
            self._users -= 1
            self._used = time.monotonic()

    def most_for_each(self) -> int:
        """The number of processes that each user may have now: others may want some, too."""
        if time.monotonic() - self._wanted > WANTED_SECONDS:
            return self.processes
        return max(1, self.processes // max(1, self._users))

    def lend(self, *, is_first: bool) -> Channel | None:
        """The channel to a process that does nothing, until it is given back; ``None`` without.

        ``is_first``: the user has no other one. If there is none, others give some back.
        """
        with self._changed:
            self._start()
            if self._is_ending:
                return None
            if not self._free:
                if is_first and self._lent:
                    self._wanted = self._used
                return None
            self._lent += 1
            return self._free.pop()

    def give_back(self, channel: Channel) -> None:
        """Give back a process that has done all its work."""
        with self._changed:
            self._lent -= 1
            self._free.append(channel)
            self._changed.notify_all()

    def lose(self, channel: Channel) -> None:
        """Give back a process that has died, or does not end its work: the pool ends.

        It is killed if it still lives, once all others have ended their work.
        """
        with self._changed:
            self._lent -= 1
            self._is_ending = True
            self._not_before = time.monotonic() + RETRY_SECONDS
            self._changed.notify_all()
        channel.close()

    def close(self) -> None:
        """End the pool for good. Nobody uses it any more."""
        with self._changed:
            self._is_closed = self._is_ending = True
            self._changed.notify_all()
            keeper = self._keeper
        if keeper is not None:
            keeper.join()

    def _keep(self) -> None:
        """Start the processes, wait until they are not needed any more, and end them."""
        try:
            mother = Mother(self.processes)
        except (OSError, SubprocessError, Unusable) as error:
            with self._changed:
                self._fail(error)
            return
        with self._changed:
            self.mother, self._free = mother.pid, list(mother.channels)
            while (left := self._seconds_left()) > 0:
                self._changed.wait(left)
            self._free, self._is_ending = [], True
        mother.end()
        with self._changed:
            self.mother = self._keeper = None
            self._is_ending = self._is_closed

    def _seconds_left(self) -> float:
        if self._lent or (self._users and not self._is_ending):
            return IDLE_SECONDS
        return 0.0 if self._is_ending else self._used + IDLE_SECONDS - time.monotonic()

    def forget(self) -> None:
        """Leave the processes to the parent of this process, which was forked from it."""
        self._reset()


def _after_fork() -> None:
    pool_mother.lock.release()
    pool_mother.close_all()
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(
    before=pool_mother.lock.acquire,
    after_in_parent=pool_mother.lock.release,
    after_in_child=_after_fork,
)
