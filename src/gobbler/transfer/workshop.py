"""Handing out the batches of a job to whatever executor there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from gobbler.disk.incoming import Job
from gobbler.registry import Registry
from gobbler.transfer.apart import Made, apart_of, put_in_place, remove_apart
from gobbler.transfer.execute import (
    MIN_FILES,
    Elsewhere,
    Meter,
    Watcher,
    batch_size,
    cut,
    is_light,
    run_all,
    run_here,
)

B = TypeVar("B")
R = TypeVar("R")


@dataclass(frozen=True)
class Workshop:
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


def hand_out(
    shop: Workshop,
    job: Job,
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
    living = _LivingJob(job, watcher, is_expected)
    for result in _results(shop, job, function, batches, "", light=light, watcher=living):
        yield from result


@dataclass(frozen=True)
class Files(Generic[B, R]):
    """Work that makes files below the directory ``top``.

    ``run`` makes those of a batch where they belong, ``run_apart`` in a directory of each
    run's own; ``batches`` cuts the work, given the directory for these, or ``""``.
    """

    run: Callable[[B, Meter], list[R]]
    run_apart: Callable[[B, Meter], tuple[list[R], Made]]
    batches: Callable[[str], Iterator[B]]
    top: str
    light: bool


def make_files(
    shop: Workshop,
    job: Job,
    files: Files[B, R],
    *,
    watcher: Watcher,
    is_expected: bool = False,
) -> Iterator[R]:
    """Have files made; like :func:`hand_out`, wherever the executor runs the batches."""
    if not isinstance(shop.executor, Elsewhere):
        yield from hand_out(
            shop,
            job,
            files.run,
            files.batches(""),
            light=files.light,
            watcher=watcher,
            is_expected=is_expected,
        )
        return
    living = _LivingJob(job, watcher, is_expected)
    with apart_of(job) as apart:
        batches = files.batches(apart)
        for results, made in _results(
            shop, job, files.run_apart, batches, apart, light=files.light, watcher=living
        ):
            put_in_place(made, files.top)
            yield from results


def _results(
    shop: Workshop,
    job: Job,
    function: Callable[[B, Meter], R],
    batches: Iterator[B],
    apart: str,
    *,
    light: bool,
    watcher: Watcher,
) -> Iterator[R]:
    def give_up() -> None:
        if apart:
            remove_apart(apart)
        shutil.rmtree(job.tree, ignore_errors=True)

    if light:
        yield from run_here(function, batches, watcher=watcher)
    yield from run_all(
        shop.executor, shop.width, function, batches, watcher=watcher, give_up=give_up
    )


@dataclass(frozen=True)
class _LivingJob:
    """Shows that the job goes on whenever it is asked for, for one batch may take hours."""

    job: Job
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
        self.job.sign_of_life()
        self.watcher.check()
