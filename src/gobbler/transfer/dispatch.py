"""Cutting work into batches, and running them on any executor."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from gobbler.model.progress import CancelToken, NoProgress, Progress, ProgressCounter
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.transfer.batch import (
    Made,
    put_in_place,
    remove_run_directories,
    run_directories,
)

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


class RemoteExecutor(Executor):
    """An executor that runs batches in other processes, perhaps on other hosts.

    When a process dies, or seems to be dead, it may run a batch anew: so a batch may run
    more than once, even at the same time, and go on after its result was taken from another
    run, or after the process that handed it out has died. See
    :mod:`gobbler.transfer.batch`.
    """


MOMENT = 0.1
"""Seconds of a trial."""

HOLD = 3.0
"""Seconds after which what did not pay is tried again: others may be done by then."""

WORTH = 1.2
"""By which factor twice as many must get more done to be kept."""

BYTES_PER_FILE = 64 * 1024
"""Bytes that count as much as a file."""


def amount(files: int, size: int) -> float:
    """How much work so many files, of so many bytes together, are."""
    return files + size / BYTES_PER_FILE


class ConcurrencyTuner:
    """How many to run ``at_a_time``, which is ``most`` at most. Times are in seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = self.at_a_time = 1
        self._rate: float | None = None
        self._began: tuple[float, float] | None = None
        self._until: float | None = None

    def look(self, now: float, done: float) -> None:
        """Know that it is ``now``, and that so much is ``done`` in all."""
        if self._most == 1 or (self._until is not None and now < self._until):
            return
        if self._began is None or self._until is not None:
            self._until, self._began = None, (now, done)
            return
        seconds, more = now - self._began[0], done - self._began[1]
        if seconds < MOMENT or more <= 0:
            return
        self._judge(more / seconds)
        if self.at_a_time == self._kept:
            self._until, self._rate = now + HOLD, None
        self._began = now, done

    def _judge(self, rate: float) -> None:
        if self._rate is None or rate > WORTH * self._rate:
            self._kept, self._rate = self.at_a_time, rate
            self.at_a_time = min(self._most, 2 * self._kept)
        else:
            self.at_a_time = self._kept


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
    function: Callable[[B, Progress], R], batches: Iterator[B], *, cancel: CancelToken
) -> Iterator[R]:
    """Run ``function`` in the calling thread on as many of ``batches`` as are really light.

    Where they take longer than light work does, the rest is still in ``batches`` at the end.
    """
    until = time.monotonic() + LIGHT_SECONDS
    for batch in batches:
        cancel.check()
        yield function(batch, NoProgress())
        if time.monotonic() > until:
            return


def run_all(
    executor: Executor,
    width: int,
    function: Callable[[B, Progress], R],
    batches: Iterable[B],
    *,
    progress: Progress,
    cancel: CancelToken,
    give_up: Callable[[], None],
) -> Iterator[R]:
    """Run ``function`` on each batch; the results as they come, not in order.

    At most ``width`` batches run at a time; in this process, as many as get most done (see
    :class:`ConcurrencyTuner`). No more are handed out, so memory stays flat, and one job
    leaves room for others. ``progress`` advances while batches run; what a batch has reported
    is taken back once it has ended, for the caller counts its results. On the first failure,
    or when ``cancel`` says so, ``give_up`` is called (it must make running batches end),
    those that run are waited for, and the error is raised. What runs elsewhere may go on for a
    while: it does no harm.
    """
    waiting = iter(batches)
    running: dict[Future[R], ProgressCounter] = {}
    reported = (0, 0)
    pace = None if isinstance(executor, RemoteExecutor) else ConcurrencyTuner(width)
    ready: list[R] = []
    ended = 0.0
    try:
        while True:
            cancel.check()
            if pace is not None:
                pace.look(time.monotonic(), ended + amount(*_progress_of(running)))
            # RemoteExecutor the way there takes a while, so that one more should be on it.
            wanted = width + 1 if pace is None else pace.at_a_time
            for batch in islice(waiting, max(0, wanted - len(running))):
                counter = ProgressCounter()
                running[executor.submit(function, batch, counter)] = counter
            yield from ready
            files, size = _progress_of(running)
            if (files, size) != reported:
                progress.advance(files - reported[0], size - reported[1])
                reported = files, size
            if not running:
                return
            done, _ = wait(running, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
            ready = [future.result() for future in done]
            for future in done:
                counter = running.pop(future)
                ended += amount(counter.files, counter.bytes)
    except BaseException:
        give_up()
        for future in running:
            future.cancel()
        wait(running, timeout=LEFT_AFTER if isinstance(executor, RemoteExecutor) else None)
        raise


def _progress_of(running: Mapping[Future[R], ProgressCounter]) -> tuple[int, int]:
    counters = running.values()
    return sum(c.files for c in counters), sum(c.bytes for c in counters)


@dataclass(frozen=True)
class Dispatcher:
    """Runs the batches of one request, which works in ``workspace``.

    ``width`` batches run at a time on ``executor``. ``write_out``: the files will be flushed,
    so data of large ones goes to the disk as it is copied. ``progress`` and ``cancel`` are
    those of the request.
    """

    registry: Registry
    executor: Executor
    width: int
    write_out: bool
    workspace: Workspace
    progress: Progress
    cancel: CancelToken

    def cut(self, files: dict[str, int]) -> Iterator[dict[str, int]]:
        """Cut ``files`` (sizes in bytes by path) into batches for this executor."""
        size = MIN_FILES if is_light(files) else batch_size(len(files), self.width)
        return cut(files, size)

    def check(self) -> None:
        """Renew the lease of the workspace, then check whether the request was cancelled.

        A single batch may take hours.
        """
        self.workspace.renew()
        self.cancel.check()


def dispatch(
    dispatcher: Dispatcher,
    function: Callable[[B, Progress], list[R]],
    batches: Iterator[B],
    *,
    light: bool,
    is_expected: bool = False,
) -> Iterator[R]:
    """Run ``function`` on ``batches``; yields their results, in any order.

    ``is_expected``: the progress of the request expects this work. Batches must end when the
    tree of the workspace is gone. ``light`` work is done in the calling thread, so that a small
    request never waits for the large ones that occupy the executor, unless it takes longer
    than it should.
    """
    for result in _results(dispatcher, function, batches, "", light=light, is_expected=is_expected):
        yield from result


@dataclass(frozen=True)
class Files(Generic[B, R]):
    """Work that makes files below the directory ``top``.

    ``run`` makes the files of a batch in place, ``run_in_run_directory`` in a directory of
    the run. ``batches`` cuts the work, given the path of the run directories, or ``""``.
    """

    run: Callable[[B, Progress], list[R]]
    run_in_run_directory: Callable[[B, Progress], tuple[list[R], Made]]
    batches: Callable[[str], Iterator[B]]
    top: str
    light: bool


def make_files(
    dispatcher: Dispatcher, files: Files[B, R], *, is_expected: bool = False
) -> Iterator[R]:
    """Make files; like :func:`dispatch`, wherever the executor runs the batches."""
    if not isinstance(dispatcher.executor, RemoteExecutor):
        yield from dispatch(
            dispatcher, files.run, files.batches(""), light=files.light, is_expected=is_expected
        )
        return
    with run_directories(dispatcher.workspace) as path:
        for results, made in _results(
            dispatcher,
            files.run_in_run_directory,
            files.batches(path),
            path,
            light=files.light,
            is_expected=is_expected,
        ):
            put_in_place(made, files.top)
            yield from results


def _results(
    dispatcher: Dispatcher,
    function: Callable[[B, Progress], R],
    batches: Iterator[B],
    run_directories_path: str,
    *,
    light: bool,
    is_expected: bool,
) -> Iterator[R]:
    def give_up() -> None:
        if run_directories_path:
            remove_run_directories(run_directories_path)
        shutil.rmtree(dispatcher.workspace.tree, ignore_errors=True)

    if light:
        yield from run_here(function, batches, cancel=dispatcher)
    yield from run_all(
        dispatcher.executor,
        dispatcher.width,
        function,
        batches,
        progress=dispatcher.progress if is_expected else NoProgress(),
        cancel=dispatcher,
        give_up=give_up,
    )
