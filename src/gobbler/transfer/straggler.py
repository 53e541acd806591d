"""Batches of a remote executor that take far longer than the others.

A process that hangs, stopped and not dead, may hold its batch until a scheduler gives it up. So a
thread of this process runs the batch as well, and the first result counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

R = TypeVar("R")

STRAGGLER_SECONDS = 15.0
"""Seconds up to which no batch counts as a straggler."""

STRAGGLER_FACTOR = 4.0
"""Factor by which a straggler is slower, for its work, than the slowest batch that has ended."""

TOLD_SHARE = 0.5
"""Share of the time until a batch is a straggler after which whoever waits is told of it."""

STRAGGLER_THREADS = 2
"""Threads of this process that run stragglers of one request."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Begun(Generic[R]):
    """A batch that was submitted, when, and how much work it is."""

    at: float
    work: float
    again: Callable[[], R]


class Stragglers(Generic[R]):
    """Runs stragglers of one request again in this process, each once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = ThreadPoolExecutor(STRAGGLER_THREADS, thread_name_prefix="straggler")
        self._clock = clock
        self._began: dict[Future[R], _Begun[R]] = {}
        self._slowest = 0.0
        self._twins: dict[Future[R], Future[R]] = {}

    def begin(self, future: Future[R], work: float, again: Callable[[], R]) -> None:
        """Note that a batch of that much ``work`` was submitted; ``again`` runs it here."""
        self._began[future] = _Begun(self._clock(), work, again)

    def end(self, future: Future[R]) -> Future[R] | None:
        """Note that a batch has ended; its twin, whose result no longer counts."""
        began = self._began.pop(future, None)
        if began is not None:
            pace = (self._clock() - began.at) / began.work
            self._slowest = max(self._slowest, pace)
        twin = self._twins.pop(future, None)
        if twin is not None:
            self._twins.pop(twin, None)
            self._began.pop(twin, None)
        return twin

    def fail(self, future: Future[R]) -> bool:
        """Note that a run has failed; whether another run of its batch goes on.

        A batch whose second run has failed has the time of a new one before it runs again.
        """
        other = self._twins.pop(future, None)
        if other is None:
            return False
        self._twins.pop(other, None)
        self._began.pop(future, None)
        if other in self._began:
            self._began[other] = replace(self._began[other], at=self._clock())
        return True

    @property
    def waits_for(self) -> str:
        """What the request waits for, in words; empty if nothing straggles."""
        slow = sum(
            self._clock() - begun.at > TOLD_SHARE * self._limit(begun.work)
            for begun in self._began.values()
        )
        if not slow:
            return ""
        what = "a batch that takes" if slow == 1 else f"{slow} batches that take"
        then = "the service runs" if self._twins else "the service will soon run"
        return (
            f"waiting for {what} far longer than the others: a worker may hang, so {then} the same "
            "work as well"
        )

    def _limit(self, work: float) -> float:
        return max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * self._slowest * work)

    def run_again(self) -> list[Future[R]]:
        """Start to run what straggles; the new futures."""
        late = [
            (future, begun)
            for future, begun in self._began.items()
            if future not in self._twins and self._clock() - begun.at > self._limit(begun.work)
        ]
        started = []
        for future, begun in late:
            logger.warning(
                "a batch has not ended for %.0f seconds, so this process runs it as well: its "
                "worker may hang",
                self._clock() - begun.at,
            )
            twin = self._pool.submit(begun.again)
            self._twins[future], self._twins[twin] = twin, future
            started.append(twin)
        return started

    def close(self) -> None:
        """Start nothing more. A thread that runs a batch is not awaited: its result is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
