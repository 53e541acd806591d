"""Cutting work into batches and running them on any executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from typing import Protocol, TypeVar

from gobbler.transfer.pacing import Pace, amount

MAX_FILES = 1000
"""Files in one batch."""

MIN_FILES = 16
"""Files for which a batch is worth its own cost, which is that of about one file; light work
is done in batches of so many.
"""

TURNS = 4
"""Batches for each of those that run at a time, so that all end at about the same time."""

MAX_BYTES = 128 * 1024 * 1024
"""Bytes in one batch, unless a single file is larger."""

LONG = 16 * 1024 * 1024
"""Bytes of a file that takes so long that others had better be done meanwhile."""

LIGHT_BYTES = 4 * 1024 * 1024
"""Bytes in all up to which work is done at once, without waiting for the executor."""

LIGHT_SECONDS = 0.1
"""Seconds after which work that seemed to be light goes to the executor after all."""

LEFT_AFTER = 1.0
"""Seconds that given up batches have to end, if nobody need wait for them."""

LOOK_EVERY = 0.1
"""Seconds between two looks whether the caller still wants the result."""

B = TypeVar("B")
R = TypeVar("R")


class Meter:
    """Counts what a batch has done, while it is at it.

    Whoever handed it out sees that only where the batch runs in the same process; in
    another one there is a meter of its own, which nobody reads.
    """

    def __init__(self) -> None:
        self.files = 0
        self._whole = self._part = 0

    @property
    def bytes(self) -> int:
        """Of files that are done, and of the one that is not."""
        return self._whole + self._part

    def __reduce__(self) -> tuple[type[Meter], tuple[()]]:
        return Meter, ()

    def add(self, size: int) -> None:
        """So many bytes more of the present file are done."""
        self._part += size

    def add_file(self, size: int) -> None:
        """The present file, of so many bytes, is done."""
        self.files += 1
        self._whole, self._part = self._whole + size, 0


class Elsewhere(Executor):
    """An executor that runs batches in other processes, perhaps on other hosts.

    When a process dies, or seems to be dead, it may run a batch anew: so a batch may run
    more than once, even at the same time, and go on after its result was taken from another
    run, or after the process that handed it out has died. See :mod:`gobbler.transfer.apart`.
    """


class Watcher(Protocol):
    """What the caller of long work may want to see and say."""

    def expect(self, files: int, size: int) -> None:
        """So many files, of so many bytes together, are going to be done.

        Said again where the work is begun anew: nothing of it is done then.
        """

    def advance(self, files: int, size: int) -> None:
        """So many files more, of so many bytes together, are done."""

    def under_way(self, files: int, size: int) -> None:
        """So much is done of batches that have not ended; it is told again when they have."""

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the work is no longer wanted."""


def batch_size(files: int, width: int) -> int:
    """How many of ``files`` should be in one batch, if ``width`` of them run at a time.

    Where each call takes long (NFS, Lustre) only those that run at a time make it fast, so
    there must be enough of them, but none so small that its own cost matters.
    """
    return min(MAX_FILES, max(MIN_FILES, -(-files // (width * TURNS))))


def cut(files: dict[str, int], most: int = MAX_FILES) -> Iterator[dict[str, int]]:
    """Cut ``files`` (sizes in bytes by path) into batches of at most ``most``.

    Those that take long come first, the longest before the others: one that came last would
    run alone. The rest is in order.
    """
    batch: dict[str, int] = {}
    size = 0
    for path, bytes_ in _long_first(files):
        if batch and (len(batch) >= most or size + bytes_ > MAX_BYTES):
            yield batch
            batch, size = {}, 0
        batch[path] = bytes_
        size += bytes_
    if batch:
        yield batch


def _long_first(files: dict[str, int]) -> Iterator[tuple[str, int]]:
    long = sorted((item for item in files.items() if item[1] >= LONG), key=lambda item: -item[1])
    yield from long
    yield from (item for item in files.items() if item[1] < LONG) if long else files.items()


def is_light(files: dict[str, int]) -> bool:
    """Whether ``files`` (sizes in bytes by path) are so few that nobody need wait in line."""
    return len(files) <= MAX_FILES and sum(files.values()) <= LIGHT_BYTES


def run_here(
    function: Callable[[B, Meter], R], batches: Iterator[B], *, watcher: Watcher
) -> Iterator[R]:
    """Run ``function`` in the calling thread on as many of ``batches`` as are really light.

    Where they take longer than light work does, the rest is still in ``batches`` at the end.
    """
    until = time.monotonic() + LIGHT_SECONDS
    for batch in batches:
        watcher.check()
        yield function(batch, Meter())
        if time.monotonic() > until:
            return


def run_all(
    executor: Executor,
    width: int,
    function: Callable[[B, Meter], R],
    batches: Iterable[B],
    *,
    watcher: Watcher,
    give_up: Callable[[], None],
) -> Iterator[R]:
    """Run ``function`` on each batch; the results as they come, not in order.

    At most ``width`` batches run at a time; in this process, as many as get most done (see
    :mod:`gobbler.transfer.pacing`). No more are handed out, so memory stays flat, and one job
    leaves room for others. On the first failure, or when ``watcher`` says that
    the work is no longer wanted, ``give_up`` is called (it must make running batches
    end), those that run are waited for, and the error is raised. What runs elsewhere may
    go on for a while: it does no harm.
    """
    waiting = iter(batches)
    running: dict[Future[R], Meter] = {}
    pace = None if isinstance(executor, Elsewhere) else Pace(width)
    ready: list[R] = []
    ended = 0.0
    try:
        while True:
            watcher.check()
            if pace is not None:
                pace.look(time.monotonic(), ended + amount(*_under_way(running)))
            # Elsewhere the way there takes a while, so that one more should be on it.
            wanted = width + 1 if pace is None else pace.at_a_time
            for batch in islice(waiting, max(0, wanted - len(running))):
                meter = Meter()
                running[executor.submit(function, batch, meter)] = meter
            yield from ready
            watcher.under_way(*_under_way(running))
            if not running:
                return
            done, _ = wait(running, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
            ready = [future.result() for future in done]
            for future in done:
                meter = running.pop(future)
                ended += amount(meter.files, meter.bytes)
    except BaseException:
        give_up()
        for future in running:
            future.cancel()
        wait(running, timeout=LEFT_AFTER if isinstance(executor, Elsewhere) else None)
        raise


def _under_way(running: Mapping[Future[R], Meter]) -> tuple[int, int]:
    meters = running.values()
    return sum(m.files for m in meters), sum(m.bytes for m in meters)
