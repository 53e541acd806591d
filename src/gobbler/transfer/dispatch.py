"""Cutting the work of a request into batches, and running them on any executor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from gobbler.fs.removal import remove_tree_quietly
from gobbler.model.progress import (
    CancelToken,
    NoProgress,
    OnlyWaiting,
    Progress,
    ProgressCounter,
    tell_waiting,
)
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.ended_attempt import ends_worker
from gobbler.transfer.concurrency_tuner import ConcurrencyTuner, amount
from gobbler.transfer.run_directory import (
    RunResult,
    put_in_place,
    remove_run_directories,
    run_directories,
)
from gobbler.transfer.straggler import Stragglers

MAX_BATCH_FILES = 1000
"""Largest number of files in a batch."""

MIN_BATCH_FILES = 16
"""Smallest number of files in a batch, which itself costs as much as about one file."""

BATCHES_PER_SLOT = 4
"""Number of batches for each that runs at a time, so that all end at about the same time."""

MAX_BATCH_BYTES = 128 * 1024 * 1024
"""Largest number of bytes in a batch of several files."""

LONG_FILE_BYTES = 16 * 1024 * 1024
"""Bytes from which a file is long: long files start first."""

LIGHT_BYTES = 4 * 1024 * 1024
"""Bytes up to which work is light, and done in the calling thread."""

LIGHT_SECONDS = 0.1
"""Seconds after which the rest of light work goes to the executor."""

REMOTE_CANCEL_SECONDS = 1.0
"""Seconds in which cancelled batches of a remote executor may end."""

DISPATCH_POLL_SECONDS = 0.1
"""Seconds between two checks whether the request was cancelled."""

logger = logging.getLogger(__name__)

B = TypeVar("B")
R = TypeVar("R")


class RemoteExecutor(Executor):
    """An executor that runs batches in other processes, perhaps on other hosts.

    When a process dies, or seems dead, the executor may run its batch again. So a batch may run
    twice, even at the same time, and may go on after the result of another run was accepted, or
    after the dispatching process has died. See :mod:`gobbler.transfer.batch`.
    """


def batch_size(files: int, width: int) -> int:
    """The number of ``files`` for a batch if ``width`` batches run at a time.

    On a slow filesystem only concurrency helps, so there must be enough batches; but none so
    small that its own cost matters.
    """
    return min(MAX_BATCH_FILES, max(MIN_BATCH_FILES, -(-files // (width * BATCHES_PER_SLOT))))


def cut(files: dict[str, int], most: int = MAX_BATCH_FILES) -> Iterator[dict[str, int]]:
    """Cut ``files`` (sizes in bytes by path) into batches of at most ``most``.

    Long files come first, the longest at the start, since a long one at the end would run alone.
    The others keep their order.
    """
    batch: dict[str, int] = {}
    size = 0
    for path, bytes_ in _long_first(files):
        if batch and (len(batch) >= most or size + bytes_ > MAX_BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[path] = bytes_
        size += bytes_
    if batch:
        yield batch


def _long_first(files: dict[str, int]) -> Iterator[tuple[str, int]]:
    long = sorted(
        (item for item in files.items() if item[1] >= LONG_FILE_BYTES), key=lambda item: -item[1]
    )
    yield from long
    yield from (
        (item for item in files.items() if item[1] < LONG_FILE_BYTES) if long else files.items()
    )


def is_light(files: dict[str, int]) -> bool:
    """Whether ``files`` (sizes in bytes by path) are too little work for the executor."""
    return len(files) <= MAX_BATCH_FILES and sum(files.values()) <= LIGHT_BYTES


def run_here(
    function: Callable[[B, Progress], R], batches: Iterator[B], *, cancel: CancelToken
) -> Iterator[R]:
    """Run ``function`` on ``batches`` in the calling thread, for :data:`LIGHT_SECONDS` at most.

    ``batches`` then holds the rest.
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
    reports: str = "",
) -> Iterator[R]:
    """Run ``function`` on each batch; yields the results as they come.

    At most ``width`` batches run at a time, and in this process as many as the
    :class:`ConcurrencyTuner` finds best. No more are submitted, so memory stays flat and other
    requests get their share. ``progress`` advances while batches run; the progress of a batch is
    taken back once it has ended, since the caller counts its results.

    The first failure, or ``cancel``, ends it: it calls ``give_up``, which must end the running
    batches, waits for them, and raises the error. Batches of a remote executor may run on for a
    while, which does no harm. They write their reports into the directory ``reports``.
    """
    waiting = iter(batches)
    running: dict[Future[R], ProgressCounter] = {}
    reported = (0, 0)
    tuner = None if isinstance(executor, RemoteExecutor) else ConcurrencyTuner(width)
    ready: list[R] = []
    ended = 0.0
    late: Stragglers[R] | None = Stragglers(reports) if tuner is None else None
    try:
        while True:
            cancel.check()
            if tuner is not None:
                tuner.measure(time.monotonic(), ended + amount(*_progress_of(running)))
            # The way to another process takes a while, so one more batch is sent ahead.
            wanted = width + 1 if tuner is None else tuner.at_a_time
            for batch in islice(waiting, max(0, wanted - len(running))):
                if late is None:
                    counter = ProgressCounter()
                    running[executor.submit(function, batch, counter)] = counter
                else:
                    remote = late.counter()
                    future = executor.submit(function, batch, remote)
                    running[future] = remote
                    late.begin(future, remote, partial(function, batch))
            if late is not None:
                running.update(late.run_again())
                tell_waiting(progress, late.waits_for)
            yield from ready
            files, size = _progress_of(running)
            if (files, size) != reported:
                progress.advance(files - reported[0], size - reported[1])
                reported = files, size
            if not running:
                return
            done, _ = wait(running, timeout=DISPATCH_POLL_SECONDS, return_when=FIRST_COMPLETED)
            ready = []
            for future in done:
                if future not in running:
                    continue  # its twin ended at the same moment
                counter = running.pop(future)
                try:
                    ready.append(future.result())
                except Exception as error:
                    if late is None or not late.fail(future):
                        raise
                    logger.warning("one of two runs of a batch failed; the other counts: %s", error)
                    continue
                ended += amount(counter.files, counter.bytes)
                if late is not None and (twin := late.end(future)) is not None:
                    running.pop(twin, None)
                    twin.cancel()
    except BaseException as error:
        # A broken executor runs nothing that must end, and the next attempt uses what is whole.
        if not isinstance(error, Exception) or not ends_worker(error):
            give_up()
        for future in running:
            future.cancel()
        is_remote = isinstance(executor, RemoteExecutor)
        wait(running, timeout=REMOTE_CANCEL_SECONDS if is_remote else None)
        raise
    finally:
        if late is not None:
            late.close()
            tell_waiting(progress, "")


def _progress_of(running: Mapping[Future[R], ProgressCounter]) -> tuple[int, int]:
    counters = running.values()
    return sum(c.files for c in counters), sum(c.bytes for c in counters)


@dataclass(frozen=True)
class Dispatcher:
    """Runs the batches of one request, which works in ``workspace``.

    ``width`` batches run at a time on ``executor``. ``write_out``: the files will be flushed, so
    data of large ones is written to disk during the copy. ``progress`` and ``cancel`` are those of
    the request.
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
        size = MIN_BATCH_FILES if is_light(files) else batch_size(len(files), self.width)
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

    ``is_expected``: the progress of the request expects this work. Batches must end when the tree
    of the workspace is gone. ``light`` work is done in the calling thread, so that a small request
    does not wait for large ones that occupy the executor. If it takes too long, the rest goes to
    the executor.
    """
    is_remote = isinstance(dispatcher.executor, RemoteExecutor)
    with run_directories(dispatcher.workspace) if is_remote else nullcontext("") as path:
        for result in _results(
            dispatcher, function, batches, path, light=light, is_expected=is_expected
        ):
            yield from result


@dataclass(frozen=True)
class FileWork(Generic[B, R]):
    """Work that makes files below the directory ``top``.

    ``run`` makes the files of a batch in place, ``run_in_run_directory`` in a directory of
    the run. ``batches`` cuts the work, given the path of the run directories, or ``""``.
    """

    run: Callable[[B, Progress], list[R]]
    run_in_run_directory: Callable[[B, Progress], tuple[list[R], RunResult]]
    batches: Callable[[str], Iterator[B]]
    top: str
    light: bool


def make_files(
    dispatcher: Dispatcher, files: FileWork[B, R], *, is_expected: bool = False
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
        remove_tree_quietly(dispatcher.workspace.tree)

    if light:
        yield from run_here(function, batches, cancel=dispatcher)
    yield from run_all(
        dispatcher.executor,
        dispatcher.width,
        function,
        batches,
        progress=dispatcher.progress if is_expected else OnlyWaiting(dispatcher.progress),
        cancel=dispatcher,
        give_up=give_up,
        reports=run_directories_path,
    )
