"""Running the batches of one request on whatever executor there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from gobbler.model.progress import CancelToken, NoProgress, Progress
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
