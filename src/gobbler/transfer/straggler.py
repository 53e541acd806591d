"""Batches of a remote executor that make no progress.

A process that hangs, stopped and not dead, may hold its batch until a scheduler gives it up. So a
thread of this process runs the batch as well, and the first result counts.

A batch that has begun straggles when its report has not changed for a while. A batch that has not
begun may wait for its turn, behind large files. It straggles only if others had their turn though
they came later, or if no process says anything.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from gobbler.model.progress import Progress, ProgressCounter
from gobbler.transfer.run_report import RemoteCounter

R = TypeVar("R")

STRAGGLER_SECONDS = 15.0
"""Seconds without progress up to which no batch counts as a straggler."""

STRAGGLER_FACTOR = 2.0
"""Factor by which a straggler is silent for longer than any batch that went on afterwards."""

TOLD_SHARE = 0.5
"""Share of the time until a batch is a straggler after which whoever waits is told of it."""

LOOK_SECONDS = 0.5
"""Seconds between two looks at the reports."""

STRAGGLER_THREADS = 2
"""Threads of this process that run stragglers of one request."""

NAMED_PROCESSES = 3
"""Number of processes that are named to whoever waits."""

logger = logging.getLogger(__name__)


@dataclass
class _Run(Generic[R]):
    """A run of a batch in another process; ``heard``: when it last made progress, or began."""

    number: int
    counter: RemoteCounter
    again: Callable[[Progress], R]
    heard: float

    @property
    def has_begun(self) -> bool:
        return bool(self.counter.process)


class SecondCounter(ProgressCounter):
    """Counts what the second run of a batch has done and its ``first`` has not."""

    def __init__(self, first: ProgressCounter) -> None:
        super().__init__()
        self._first = first
        self._files = self._bytes = 0

    def advance(self, files: int, size: int) -> None:
        """Count what is done."""
        self._files += files
        self._bytes += size
        self.files = max(0, self._files - self._first.files)
        self.bytes = max(0, self._bytes - self._first.bytes)


class Stragglers(Generic[R]):
    """Runs stragglers of one request again in this process, each once.

    ``reports`` is the directory for run reports; without one, no batch seems to begin.
    """

    def __init__(self, reports: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._reports = reports
        self._pool = ThreadPoolExecutor(STRAGGLER_THREADS, thread_name_prefix="straggler")
        self._clock = clock
        self._numbers = itertools.count()
        self._report_numbers = itertools.count()
        self._runs: dict[Future[R], _Run[R]] = {}
        self._twins: dict[Future[R], Future[R]] = {}
        self._next_look = 0.0
        self._longest_silence = 0.0
        self._newest = -1
        self._heard = 0.0
        self._is_quiet = False
        self._note = ""
        self._named: set[str] = set()

    def counter(self) -> RemoteCounter:
        """The counter for a batch that is about to be submitted."""
        if not self._reports:
            return RemoteCounter("")
        return RemoteCounter.new(f"{self._reports}/{next(self._report_numbers)}.run")

    def begin(
        self, future: Future[R], counter: RemoteCounter, again: Callable[[Progress], R]
    ) -> None:
        """Note that a batch was submitted with this counter; ``again`` runs it here."""
        now = self._clock()
        if not self._runs and not self._is_quiet:
            self._heard = now
        self._runs[future] = _Run(next(self._numbers), counter, again, now)

    def end(self, future: Future[R]) -> Future[R] | None:
        """Note that a batch has ended; its twin, whose result no longer counts."""
        run = self._runs.pop(future, None)
        twin = self._twins.pop(future, None)
        if run is not None:
            # Of a batch that was short, nobody knows how long it waited for its turn.
            is_known = run.has_begun or not run.counter.read()
            self._hear(run, is_measure=is_known and twin is None)
        if twin is not None:
            self._twins.pop(twin, None)
            self._runs.pop(twin, None)
        return twin

    def fail(self, future: Future[R]) -> bool:
        """Note that a run has failed; whether another run of its batch goes on.

        A batch whose second run has failed has the time of a new one before it runs again.
        """
        other = self._twins.pop(future, None)
        if other is None:
            return False
        self._twins.pop(other, None)
        self._runs.pop(future, None)
        if other in self._runs:
            self._runs[other].heard = self._clock()
        return True

    def _hear(self, run: _Run[R], *, is_measure: bool) -> None:
        """Note that a run makes progress; ``is_measure``: its silence was that of a run at work."""
        now = self._clock()
        if is_measure:
            self._longest_silence = max(self._longest_silence, now - run.heard)
        run.heard = self._heard = now
        self._newest = max(self._newest, run.number)
        self._is_quiet = False

    def _look(self) -> None:
        """Read the reports."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for future, run in self._runs.items():
            had_begun = run.has_begun
            if run.counter.read():
                self._hear(run, is_measure=had_begun and future not in self._twins)

    def limit(self) -> float:
        """Seconds without progress after which a batch straggles."""
        return max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * self._longest_silence)

    def _straggles(self, run: _Run[R], share: float = 1.0) -> bool:
        limit, now = share * self.limit(), self._clock()
        if run.has_begun or run.number < self._newest:
            return now - run.heard > limit
        return now - self._heard > limit

    @property
    def waits_for(self) -> str:
        """What the request waits for, in words; empty if nothing straggles."""
        late = [run for run in self._runs.values() if self._straggles(run, TOLD_SHARE)]
        hanging = {run.counter.process for run in late if run.has_begun}
        if not late:
            self._note = ""
        elif not self._note or (hanging and not hanging & self._named):
            # A note stays while it is true of something, so that nobody is told the same twice.
            self._note, self._named = _note(sorted(hanging)), hanging
        return self._note

    def _late(self) -> list[tuple[Future[R], _Run[R]]]:
        """What straggles and runs only once."""
        return [
            (future, run)
            for future, run in self._runs.items()
            if future not in self._twins and self._straggles(run)
        ]

    def run_again(self) -> dict[Future[R], SecondCounter]:
        """Look at the reports, and start to run what straggles; the new runs."""
        self._look()
        if self._late():
            self._next_look = 0.0
            self._look()  # once more, since the last look may be a moment ago
        started = {}
        for future, run in self._late():
            self._log(run)
            counter = SecondCounter(run.counter)
            twin = self._pool.submit(run.again, counter)
            started[twin] = counter
            self._twins[future], self._twins[twin] = twin, future
            self._is_quiet = self._is_quiet or self._clock() - self._heard > self.limit()
        return started

    def _log(self, run: _Run[R]) -> None:
        now = self._clock()
        if run.has_begun:
            logger.warning(
                "the worker %s has made no progress for %.0f seconds and may hang, so this "
                "process does its work as well",
                run.counter.process,
                now - run.heard,
            )
        elif not self._is_quiet:
            logger.warning(
                "no worker has begun a batch for %.0f seconds, so this process runs it as well",
                now - run.heard,
            )

    def close(self) -> None:
        """Start nothing more. A thread that runs a batch is not awaited: its result is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _note(processes: list[str]) -> str:
    """What the request waits for, of which these ``processes`` hang."""
    if not processes:
        what = "work that no worker begins"
    else:
        named = ", ".join(processes[:NAMED_PROCESSES])
        rest = ", ..." if len(processes) > NAMED_PROCESSES else ""
        count = len(processes)
        who = "a worker that makes" if count == 1 else f"{count} workers that make"
        what = f"{who} no progress ({named}{rest})"
    return f"waiting for {what}; the service will do the same work"
