"""Cutting the work of a request into batches, and running them on any executor."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from gobbler.fs.removal import remove_tree_quietly
from gobbler.model.progress import CancelToken, NoProgress, OnlyWaiting, Progress
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.transfer.batch_run import run_all
from gobbler.transfer.executors import RemoteExecutor, pool_of
from gobbler.transfer.local_pool import LocalPool
from gobbler.transfer.pooled_work import PooledWork
from gobbler.transfer.run_directory import (
    RunResult,
    put_in_place,
    remove_run_directories,
    run_directories,
)

MAX_BATCH_FILES = 1000
"""Largest number of files in a batch."""

MANY_FILES = MAX_BATCH_FILES
"""Number of files above which a local pool deals with them, if there is one."""

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

BATCHES_PER_PROCESS = 16
"""Number of batches for each process of a pool, so that all end at about the same time."""

B = TypeVar("B")
R = TypeVar("R")


def batch_size(files: int, batches: int) -> int:
    """The number of ``files`` for each of as many as ``batches``.

    On a slow filesystem only concurrency helps, so there must be enough batches; but none so
    small that its own cost matters.
    """
    return min(MAX_BATCH_FILES, max(MIN_BATCH_FILES, -(-files // batches)))


def pooled_batch_size(files: int, pool: LocalPool) -> int:
    """The number of ``files`` for a batch of a ``pool``."""
    return batch_size(files, pool.processes * BATCHES_PER_PROCESS)


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


class Weight(enum.Enum):
    """How much work files are: ``LIGHT`` is too little for the executor, ``MANY`` suits a pool."""

    LIGHT = enum.auto()
    HEAVY = enum.auto()
    MANY = enum.auto()


def are_many(files: int) -> bool:
    """Whether so many files, or links, suit a pool."""
    return files > MANY_FILES


def weigh(files: Mapping[str, int]) -> Weight:
    """The weight of ``files`` (sizes in bytes by path)."""
    if are_many(len(files)):
        return Weight.MANY
    return Weight.LIGHT if sum(files.values()) <= LIGHT_BYTES else Weight.HEAVY


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
        weight = weigh(files)
        if weight is Weight.LIGHT:
            return cut(files, MIN_BATCH_FILES)
        pool = pool_of(self.executor)
        if pool is not None and weight is Weight.MANY:
            return cut(files, pooled_batch_size(len(files), pool))
        return cut(files, batch_size(len(files), self.width * BATCHES_PER_SLOT))

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
    weight: Weight,
    is_expected: bool = False,
    pooled: PooledWork[B, list[R]] | None = None,
) -> Iterator[R]:
    """Run ``function`` on ``batches``; yields their results, in any order.

    ``is_expected``: the progress of the request expects this work. Batches must end when the tree
    of the workspace is gone. Light work is done in the calling thread, so that a small request
    does not wait for large ones that occupy the executor. If it takes too long, the rest goes to
    the executor. ``pooled``: how many small files are dealt with in processes.
    """
    is_remote = isinstance(dispatcher.executor, RemoteExecutor)
    with run_directories(dispatcher.workspace) if is_remote else nullcontext("") as path:
        for result in _results(
            dispatcher,
            function,
            batches,
            path,
            weight=weight,
            is_expected=is_expected,
            pooled=pooled,
        ):
            yield from result


@dataclass(frozen=True)
class FileWork(Generic[B, R]):
    """Work that makes files below the directory ``top``.

    ``run`` makes the files of a batch in place, ``run_in_run_directory`` in a directory of
    the run. ``batches`` cuts the work, given the path of the run directories, or ``""``.
    ``pooled``: how many small files are made by processes of this host.
    """

    run: Callable[[B, Progress], list[R]]
    run_in_run_directory: Callable[[B, Progress], tuple[list[R], RunResult]]
    batches: Callable[[str], Iterator[B]]
    top: str
    weight: Weight
    pooled: PooledWork[B, list[R]] | None = None


def make_files(
    dispatcher: Dispatcher, files: FileWork[B, R], *, is_expected: bool = False
) -> Iterator[R]:
    """Make files; like :func:`dispatch`, wherever the executor runs the batches."""
    if not isinstance(dispatcher.executor, RemoteExecutor):
        yield from dispatch(
            dispatcher,
            files.run,
            files.batches(""),
            weight=files.weight,
            is_expected=is_expected,
            pooled=files.pooled,
        )
        return
    with run_directories(dispatcher.workspace) as path:
        for results, made in _results(
            dispatcher,
            files.run_in_run_directory,
            files.batches(path),
            path,
            weight=files.weight,
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
    weight: Weight,
    is_expected: bool,
    pooled: PooledWork[B, R] | None = None,
) -> Iterator[R]:
    def give_up() -> None:
        if run_directories_path:
            remove_run_directories(run_directories_path)
        remove_tree_quietly(dispatcher.workspace.tree)

    if weight is Weight.LIGHT:
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
        pooled=pooled,
        pool=pool_of(dispatcher.executor) if weight is Weight.MANY else None,
    )
