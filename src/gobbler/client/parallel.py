"""Threads: one task for many items, and locks that a forked child can use."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from gobbler.model.progress import CancelFlag

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


class Stop(CancelFlag):
    """Ends tasks that run in other threads, and the pauses that they make."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = threading.Event()

    def set(self) -> None:
        """Let every task end at its next check."""
        self.cancel("the work was stopped")
        self._ended.set()

    def wait(self, seconds: float) -> None:
        """Pause for ``seconds``; raise as :meth:`check` does if the tasks should end."""
        self._ended.wait(seconds)
        self.check()


class _Running:
    """The tasks that run in threads of a pool, so that whoever stops them can await them all.

    The pool does not know a thread of its own if Ctrl-C comes while it starts that.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._changed = threading.Condition()
        self._count = 0

    def call(self, task: Callable[..., R], *arguments: object) -> R:
        """Call ``task``; raises as :meth:`Stop.check` does once they are stopped."""
        with self._changed:
            self._stop.check()
            self._count += 1
        try:
            return task(*arguments)
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Stop the tasks, and wait until none of them runs."""
        with self._changed:
            self._stop.set()
            self._changed.wait_for(lambda: not self._count)


def for_each(task: Callable[[T, Stop], None], items: Iterable[T], concurrent: int) -> None:
    """Call ``task(item, stop)`` for all ``items``, ``concurrent`` of them at a time.

    The first error, or Ctrl-C, stops the other tasks, and is raised when all have ended. Items are
    read one by one, so there may be millions.
    """
    stop = Stop()
    if concurrent <= 1:
        for item in items:
            task(item, stop)
        return
    queue = iter(items)
    running = _Running(stop)
    turn = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with turn:
                try:
                    item = next(queue)
                except StopIteration:
                    return
            task(item, stop)

    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(concurrent, thread_name_prefix="gobbler") as pool:
        try:
            futures = [pool.submit(running.call, work) for _ in range(concurrent)]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            running.end()
    # These have the first error; those that ended later may have been stopped by it.
    for future in done:
        future.result()


def in_turn(
    task: Callable[[T, Stop], R], items: Iterable[T], concurrent: int
) -> Generator[R, None, None]:
    """Call ``task(item, stop)`` for all ``items``, ``concurrent`` at a time; yield the results.

    Results come in the order in which the tasks end. An item is taken, in the thread that
    iterates, when a thread is free for it. The first error, Ctrl-C, or closing the iterator
    stops the others.
    """
    stop = Stop()
    if concurrent <= 1:
        for item in items:
            yield task(item, stop)
        return
    queue = iter(items)
    tasks = _Running(stop)
    running: set[Future[R]] = set()
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(concurrent, thread_name_prefix="gobbler") as pool:
        try:
            while True:
                while len(running) < concurrent and (more := list(islice(queue, 1))):
                    running.add(pool.submit(tasks.call, task, more[0], stop))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            tasks.end()


class ForkSafeLock:
    """A lock that is free in a forked child, whichever thread of the parent held it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_locks() -> None:
    for lock in list(_LOCKS):
        lock._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)
