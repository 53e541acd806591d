"""Taking turns within a process, in the order of coming.

``flock`` knows no queue: whoever polls at the right moment is next, and one who wants a
lock exclusively can be passed for ever by those who share it. So the threads of a process
queue up for each lock first. One that shares the lock passes the turn on as soon as it has
it; one that has it to itself keeps the turn as long. Those who wait to share it wait behind
one who came before them.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

CHECK_EVERY = 0.2
"""Seconds between two looks whether those who wait still want their turn."""


class Turns:
    """The queue of one process for one lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, patience: float, check: Callable[[], None] = lambda: None) -> bool:
        """Wait for our turn, ``patience`` seconds at most; whether it came.

        ``check`` is called now and then, and may raise to give up.
        """
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        deadline = time.monotonic() + patience
        try:
            while not called.acquire(timeout=CHECK_EVERY):
                check()
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


_turns: dict[str, tuple[Turns, int]] = {}
_guard = threading.Lock()


def enter(path: str) -> Turns:
    """The queue for the lock ``path``, kept until each who entered has left."""
    with _guard:
        turns, users = _turns.get(path) or (Turns(), 0)
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
