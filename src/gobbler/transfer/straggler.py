"""Batches of a remote executor that take far longer than the others.

A process that hangs, stopped and not dead, may hold its batch until a scheduler gives it up. So when
no other batch waits, a thread of this process runs the batch as well, and the first result counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

R = TypeVar("R")

STRAGGLER_SECONDS = 15.0
"""Seconds up to which no batch counts as a straggler."""

STRAGGLER_FACTOR = 4.0
"""Factor by which a straggler takes longer than the slowest batch that has ended."""

STRAGGLER_THREADS = 2
"""Threads of this process that run stragglers of one request."""

logger = logging.getLogger(__name__)


class Stragglers(Generic[R]):
    """Runs stragglers of one request again in this process, each once."""

    def __init__(self, pool: ThreadPoolExecutor, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self._began: dict[Future[R], tuple[float, Callable[[], R]]] = {}
        self._slowest = 0.0
        self._twins: dict[Future[R], Future[R]] = {}

    def begin(self, future: Future[R], again: Callable[[], R]) -> None:
        """Note that a batch was submitted; ``again`` runs it in this process."""
        self._began[future] = self._clock(), again

    def end(self, future: Future[R]) -> Future[R] | None:
        """Note that a batch has ended; its twin, whose result no longer counts."""
        began = self._began.pop(future, None)
        if began is not None:
            self._slowest = max(self._slowest, self._clock() - began[0])
        twin = self._twins.pop(future, None)
        if twin is not None:
            self._twins.pop(twin, None)
            self._began.pop(twin, None)
        return twin

    def run_again(self) -> list[Future[R]]:
        """Start to run what straggles; the new futures."""
        limit = max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * self._slowest)
        late = [
            (future, again)
            for future, (began, again) in self._began.items()
            if self._clock() - began > limit and future not in self._twins
        ]
        started = []
        for future, again in late:
            logger.warning(
                "a batch has not ended for %.0f seconds, so this process runs it as well: its "
                "worker may hang",
                limit,
            )
            twin = self._pool.submit(again)
            self._twins[future], self._twins[twin] = twin, future
            started.append(twin)
        return started


@contextmanager
def stragglers(clock: Callable[[], float] = time.monotonic) -> Iterator[Stragglers[R]]:
    """The stragglers of one request; the threads that run them are not awaited."""
    pool = ThreadPoolExecutor(STRAGGLER_THREADS, thread_name_prefix="straggler")
    try:
        yield Stragglers(pool, clock)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
