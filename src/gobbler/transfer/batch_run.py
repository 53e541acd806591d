"""Running batches on an executor: in threads, in a pool of local processes, or elsewhere."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from gobbler.model.progress import CancelToken, Progress, ProgressCounter, tell_waiting
from gobbler.rules.ended_attempt import ends_worker
from gobbler.transfer.concurrency_tuner import ConcurrencyTuner, amount
from gobbler.transfer.executors import RemoteExecutor
from gobbler.transfer.local_pool import LocalPool
from gobbler.transfer.pool_share import PoolShare, ProcessDied
from gobbler.transfer.pooled_work import PooledWork
from gobbler.transfer.straggler import Stragglers

REMOTE_CANCEL_SECONDS = 1.0
"""Seconds in which cancelled batches of a remote executor may end."""

DISPATCH_POLL_SECONDS = 0.1
"""Seconds between two checks whether the request was cancelled."""

HELD_BACK = 64
"""Batches for threads that wait while later ones already run in processes."""

logger = logging.getLogger(__name__)

B = TypeVar("B")
R = TypeVar("R")


class _Running(Generic[B, R]):
    """The batches that run, with a counter for each."""

    def __init__(
        self,
        executor: Executor,
        function: Callable[[B, Progress], R],
        batches: Iterable[B],
        progress: Progress,
    ) -> None:
        self.progress = progress
        self.counters: dict[Future[Any], ProgressCounter] = {}
        self._executor = executor
        self._function = function
        self._waiting = iter(batches)
        self._reported = (0, 0)

    def report(self) -> None:
        """Report what has been done since the last report."""
        files = sum(counter.files for counter in self.counters.values())
        size = sum(counter.bytes for counter in self.counters.values())
        if (files, size) != self._reported:
            self.progress.advance(files - self._reported[0], size - self._reported[1])
            self._reported = files, size

    def ended(self) -> list[R]:
        """Wait for a moment; the results of batches that have ended."""
        self._wait()
        results: list[R] = []
        for future in [future for future in self.counters if future.done()]:
            if future in self.counters:  # else its twin has ended at the same moment
                self._end(future, self.counters.pop(future), results)
        return results

    def _wait(self) -> None:
        wait(self.counters, timeout=DISPATCH_POLL_SECONDS, return_when=FIRST_COMPLETED)

    def begin(self) -> None:
        """Begin batches while there is room."""
        raise NotImplementedError

    def _end(self, future: Future[Any], counter: ProgressCounter, results: list[R]) -> None:
        """Add the result of a batch that has ended, or raise its error."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Wait for batches that were cancelled."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing runs any more."""
        raise NotImplementedError


class _Elsewhere(_Running[B, R]):
    """Batches of a remote executor, which write their reports into the directory ``reports``."""

    def __init__(
        self,
        executor: Executor,
        width: int,
        function: Callable[[B, Progress], R],
        batches: Iterable[B],
        progress: Progress,
        reports: str,
    ) -> None:
        super().__init__(executor, function, batches, progress)
        self._width = width
        self._late: Stragglers[R] = Stragglers(reports)

    def begin(self) -> None:
        # The way to another process takes a while, so one more batch is sent ahead.
        for batch in islice(self._waiting, max(0, self._width + 1 - len(self.counters))):
            remote = self._late.counter()
            future = self._executor.submit(self._function, batch, remote)
            self.counters[future] = remote
            self._late.begin(future, remote, partial(self._function, batch))
        self.counters.update(self._late.run_again())
        tell_waiting(self.progress, self._late.waits_for)

    def _end(self, future: Future[Any], counter: ProgressCounter, results: list[R]) -> None:
        del counter
        try:
            results.append(future.result())
        except Exception as error:
            if not self._late.fail(future):
                raise
            logger.warning("one of two runs of a batch failed; the other counts: %s", error)
            return
        if (twin := self._late.end(future)) is not None:
            self.counters.pop(twin, None)
            twin.cancel()

    def give_up(self) -> None:
        for future in self.counters:
            future.cancel()
        wait(self.counters, timeout=REMOTE_CANCEL_SECONDS)

    def close(self) -> None:
        self._late.close()
        tell_waiting(self.progress, "")


def _share_of(pool: LocalPool) -> PoolShare | None:
    try:
        return PoolShare(pool)
    except OSError as error:  # this process may open no more files
        logger.warning("batches run in threads only: %s", error)
        return None


class _Here(_Running[B, R]):
    """Batches that run on this host, once each.

    In threads run as many as the :class:`ConcurrencyTuner` finds best. A small batch runs in a
    process of the pool, if one is free.
    """

    def __init__(
        self,
        executor: Executor,
        width: int,
        function: Callable[[B, Progress], R],
        batches: Iterable[B],
        progress: Progress,
        pooled: PooledWork[B, R] | None,
        pool: LocalPool | None,
    ) -> None:
        super().__init__(executor, function, batches, progress)
        self._tuner = ConcurrencyTuner(width)
        self._done = 0.0
        self._pooled = pooled
        self._share = None if pooled is None or pool is None else _share_of(pool)
        self._in_pool: dict[Future[Any], B] = {}
        self._held: deque[B] = deque()
        self._next: B | None = None
        self._lost: deque[B] = deque()

    def begin(self) -> None:
        room = self._room()
        while self._lost and room > 0 and self._pooled is not None:
            self._begin_in_thread(self._pooled.again, self._lost.popleft())
            room -= 1
        while room > 0 or self._share is not None:
            batch = self._take(room)
            if batch is None:
                return
            is_small = self._is_small(batch)
            if is_small and self._begin_in_pool(batch):
                continue
            if room > 0 and not (is_small and self._in_pool):
                self._begin_in_thread(self._function, batch)
                room -= 1
            elif is_small:
                self._next = batch
                return
            else:
                self._held.append(batch)

    def _is_small(self, batch: B) -> bool:
        if self._pooled is None or self._share is None:
            return False
        return self._pooled.is_small(batch)

    def _room(self) -> int:
        threads = [self.counters[future] for future in self.counters.keys() - self._in_pool]
        files, size = sum(c.files for c in threads), sum(c.bytes for c in threads)
        self._tuner.measure(time.monotonic(), self._done + amount(files, size))
        return self._tuner.at_a_time - len(threads)

    def _take(self, room: int) -> B | None:
        """The next batch: one for threads, or one that may be small."""
        if room > 0 and self._held:
            return self._held.popleft()
        if self._next is not None:
            batch, self._next = self._next, None
            return batch
        return next(self._waiting, None) if len(self._held) < HELD_BACK else None

    def _begin_in_thread(self, function: Callable[[B, Progress], R], batch: B) -> None:
        counter = ProgressCounter()
        future = self._executor.submit(function, batch, counter)
        self.counters[future] = counter
        if self._share is not None:
            future.add_done_callback(self._share.wake)

    def _begin_in_pool(self, batch: B) -> bool:
        assert self._pooled is not None
        assert self._share is not None
        counter = ProgressCounter()
        future = self._share.submit(self._pooled.run, batch, counter)
        if future is None:
            return False
        self.counters[future] = counter
        self._in_pool[future] = batch
        return True

    def _wait(self) -> None:
        if self._share is None:
            super()._wait()
        else:
            self._share.wait(DISPATCH_POLL_SECONDS)

    def _end(self, future: Future[Any], counter: ProgressCounter, results: list[R]) -> None:
        if future not in self._in_pool or self._pooled is None:
            results.append(future.result())
            self._done += amount(counter.files, counter.bytes)
            return
        batch = self._in_pool.pop(future)
        try:
            results.append(self._pooled.result(future.result()))
        except ProcessDied:
            logger.warning("a process of the local pool died; a thread does its work again")
            self._lost.append(batch)

    def give_up(self) -> None:
        for future in self.counters:
            future.cancel()
        if self._share is not None:
            self._share.end()
        wait(self.counters)

    def close(self) -> None:
        if self._share is not None:
            self._share.close()


def run_all(
    executor: Executor,
    width: int,
    function: Callable[[B, Progress], R],
    batches: Iterable[B],
    *,
    progress: Progress,
    cancel: CancelToken,
    give_up: Callable[[], None],
    reports: str = "",
    pooled: PooledWork[B, R] | None = None,
    pool: LocalPool | None = None,
) -> Iterator[R]:
    """Run ``function`` on each batch; yields the results as they come.

    At most ``width`` batches run at a time, and in this process as many as the
    :class:`ConcurrencyTuner` finds best. No more are submitted, so memory stays flat and other
    requests get their share. Processes of a local ``pool`` do ``pooled`` work.
    ``progress`` advances while batches run; the progress of a batch is taken back once it has
    ended, since the caller counts its results.

    The first failure, or ``cancel``, ends it: it calls ``give_up``, which must end the running
    batches, waits for them, and raises the error. Batches of a remote executor may run on for a
    while, which does no harm. They write their reports into the directory ``reports``.
    """
    running: _Running[B, R]
    if isinstance(executor, RemoteExecutor):
        running = _Elsewhere(executor, width, function, batches, progress, reports)
    else:
        running = _Here(executor, width, function, batches, progress, pooled, pool)
    ready: list[R] = []
    try:
        while True:
            cancel.check()
            running.begin()
            yield from ready
            running.report()
            if not running.counters:
                return
            ready = running.ended()
    except BaseException as error:
        # A broken executor runs nothing that must end, and the next attempt uses what is whole.
        if not isinstance(error, Exception) or not ends_worker(error):
            give_up()
        running.give_up()
        raise
    finally:
        running.close()
