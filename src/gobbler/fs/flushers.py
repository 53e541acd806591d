"""Flush several files at the same time.

A disk joins the flushes that wait for it: a dozen at the same time take little longer than one,
and one after the other a dozen times as long, above all while another process writes to that
disk. A filesystem in memory has nothing to wait for, so there one thread is faster.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

SLOW_FLUSH_SECONDS = 0.0003
"""Seconds of one flush from which the next ones run at the same time.

Memory takes a hundredth of that. A disk takes several times as long, even a fast one.
"""

FLUSHERS = 8
"""Flushes at the same time, for one change. More are no faster, on a disk that is busy or not."""

_MOST_THREADS = 2 * FLUSHERS

_slow: set[int] = set()
"""Devices whose last flushes were slow."""

_threads: ThreadPoolExecutor | None = None


def _reset_after_fork() -> None:
    global _threads  # noqa: PLW0603 - the child has none of these threads
    _threads = None
    _slow.clear()


os.register_at_fork(after_in_child=_reset_after_fork)


class _Ended(NamedTuple):
    """How long a call took, and the error that it raised."""

    seconds: float
    error: OSError | None


def flush_together(calls: Iterable[Callable[[], None]], device: int) -> None:
    """Make all ``calls``, each of which flushes something on ``device`` (``st_dev``).

    Returns when all have ended; raises the ``OSError`` of one that has failed.
    """
    waiting = deque(calls)
    if device not in _slow:
        while waiting:
            begun = time.monotonic()
            waiting.popleft()()
            if time.monotonic() - begun > SLOW_FLUSH_SECONDS:
                _slow.add(device)
                break
    if not waiting:
        return
    expected = len(waiting)
    ended: SimpleQueue[_Ended] = SimpleQueue()
    with suppress(RuntimeError):  # no more threads, or the interpreter ends: do the rest here
        for _ in range(min(FLUSHERS, expected) - 1):
            _pool().submit(_make, waiting, ended)
    _make(waiting, ended)
    results = [ended.get() for _ in range(expected)]
    if max(result.seconds for result in results) < SLOW_FLUSH_SECONDS:
        _slow.discard(device)
    for result in results:
        if result.error is not None:
            raise result.error


def _make(waiting: deque[Callable[[], None]], ended: SimpleQueue[_Ended]) -> None:
    """Make the calls that no other thread has taken."""
    while True:
        try:
            call = waiting.popleft()
        except IndexError:
            return
        begun = time.monotonic()
        error: OSError | None = OSError(errno.EIO, "a flush has not ended")
        try:
            call()
            error = None
        except OSError as raised:
            error = raised
        finally:
            ended.put(_Ended(time.monotonic() - begun, error))


def _pool() -> ThreadPoolExecutor:
    global _threads  # noqa: PLW0603 - made on first need: most processes flush nothing
    if _threads is None:
        _threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="flush")
    return _threads
