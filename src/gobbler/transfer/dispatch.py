"""Handing out the batches of a job to whatever executor there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from gobbler.model.progress import Meter, Watcher
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.transfer.executor import (
    MIN_FILES,
    RemoteExecutor,
    batch_size,
    cut,
    is_light,
    run_all,
    run_here,
)
from gobbler.transfer.run_directory import (
    Made,
    put_in_place,
    remove_run_directories,
    run_directories,
)

B = TypeVar("B")
R = TypeVar("R")


@dataclass(frozen=True)
class Dispatcher:
    """Where and with what trees are built: ``width`` batches at a time on ``executor``.

    ``write_out``: what is written will be flushed, so large files had better go to the
    disk as they come.
    """

    registry: Registry
    executor: Executor
    width: int
    write_out: bool

    def cut(self, files: dict[str, int]) -> Iterator[dict[str, int]]:
        """Cut ``files`` (sizes in bytes by path) into batches for this executor."""
        size = MIN_FILES if is_light(files) else batch_size(len(files), self.width)
        return cut(files, size)


def dispatch(
    dispatcher: Dispatcher,
    workspace: Workspace,
    function: Callable[[B, Meter], list[R]],
    batches: Iterator[B],
    *,
    light: bool,
    watcher: Watcher,
    is_expected: bool = False,
) -> Iterator[R]:
    """Run ``function`` on the batches of a job; their results, in any order.

    ``is_expected``: ``watcher`` has been told to expect this work. Batches must end when
    the job's tree is gone. ``light`` work is done here and now, so
    that a small job never waits for the large ones that occupy the executor; unless it
    takes longer than it should.
    """
    living = _LivingJob(workspace, watcher, is_expected)
    for result in _results(
        dispatcher, workspace, function, batches, "", light=light, watcher=living
    ):
        yield from result


@dataclass(frozen=True)
class Files(Generic[B, R]):
    """Work that makes files below the directory ``top``.

    ``run`` makes those of a batch where they belong, ``run_apart`` in a directory of each
    run's own; ``batches`` cuts the work, given the directory for these, or ``""``.
    """

    run: Callable[[B, Meter], list[R]]
    run_in_run_directory: Callable[[B, Meter], tuple[list[R], Made]]
    batches: Callable[[str], Iterator[B]]
    top: str
    light: bool


def make_files(
    dispatcher: Dispatcher,
    workspace: Workspace,
    files: Files[B, R],
    *,
    watcher: Watcher,
    is_expected: bool = False,
) -> Iterator[R]:
    """Have files made; like :func:`dispatch`, wherever the executor runs the batches."""
    if not isinstance(dispatcher.executor, RemoteExecutor):
        yield from dispatch(
            dispatcher,
            workspace,
            files.run,
            files.batches(""),
            light=files.light,
            watcher=watcher,
            is_expected=is_expected,
        )
        return
    living = _LivingJob(workspace, watcher, is_expected)
    with run_directories(workspace) as run_directories_path:
        batches = files.batches(run_directories_path)
        for results, made in _results(
            dispatcher,
            workspace,
            files.run_in_run_directory,
            batches,
            run_directories_path,
            light=files.light,
            watcher=living,
        ):
            put_in_place(made, files.top)
            yield from results


def _results(
    dispatcher: Dispatcher,
    workspace: Workspace,
    function: Callable[[B, Meter], R],
    batches: Iterator[B],
    run_directories_path: str,
    *,
    light: bool,
    watcher: Watcher,
) -> Iterator[R]:
    def give_up() -> None:
        if run_directories_path:
            remove_run_directories(run_directories_path)
        shutil.rmtree(workspace.tree, ignore_errors=True)

    if light:
        yield from run_here(function, batches, watcher=watcher)
    yield from run_all(
        dispatcher.executor, dispatcher.width, function, batches, watcher=watcher, give_up=give_up
    )


@dataclass(frozen=True)
class _LivingJob:
    """Shows that the job goes on whenever it is asked for, for one batch may take hours."""

    workspace: Workspace
    watcher: Watcher
    is_expected: bool

    def expect(self, files: int, size: int) -> None:
        self.watcher.expect(files, size)

    def advance(self, files: int, size: int) -> None:
        self.watcher.advance(files, size)

    def under_way(self, files: int, size: int) -> None:
        if self.is_expected:
            self.watcher.under_way(files, size)

    def check(self) -> None:
        self.workspace.renew()
        self.watcher.check()
