"""Cutting work into batches and running them on any executor."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Cancelled
from gobbler.model.progress import NeverCancelled, NoProgress, Progress, ProgressCounter
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace, new_workspace
from gobbler.transfer import batch as batch_module
from gobbler.transfer import batch_run
from gobbler.transfer import dispatch as execute
from gobbler.transfer.batch import BatchProgress
from gobbler.transfer.batch_run import run_all
from gobbler.transfer.dispatch import (
    BATCHES_PER_SLOT,
    LONG_FILE_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_FILES,
    MIN_BATCH_FILES,
    Dispatcher,
    Weight,
    batch_size,
    cut,
    dispatch,
)

sizes = st.integers(0, MAX_BATCH_BYTES * 2) | st.integers(0, 10)


@given(st.lists(sizes, max_size=50))
def test_cutting_keeps_all_files_and_every_batch_small(numbers: list[int]) -> None:
    files = {str(i): size for i, size in enumerate(numbers)}
    batches = list(cut(files))
    order = [item for batch in batches for item in batch.items()]
    long = [size for _, size in order if size >= LONG_FILE_BYTES]
    assert [size for _, size in order[: len(long)]] == sorted(long, reverse=True)
    assert order[len(long) :] == [item for item in files.items() if item[1] < LONG_FILE_BYTES]
    assert sorted(order) == sorted(files.items())
    for batch in batches:
        assert batch
        assert sum(batch.values()) <= MAX_BATCH_BYTES or len(batch) == 1
    for one, other in itertools.pairwise(batches):
        first = next(iter(other.values()))
        assert sum(one.values()) + first > MAX_BATCH_BYTES, "it could have been in the batch before"


def test_no_batch_has_too_many_files() -> None:
    assert [len(b) for b in cut(dict.fromkeys(map(str, range(2500)), 0))] == [1000, 1000, 500]
    assert MAX_BATCH_FILES == 1000
    assert list(cut({})) == []


@given(st.integers(0, 10**7), st.integers(1, 64))
def test_there_are_batches_for_all_that_run_at_a_time(files: int, width: int) -> None:
    size = batch_size(files, width * BATCHES_PER_SLOT)
    assert MIN_BATCH_FILES <= size <= MAX_BATCH_FILES
    if size > MIN_BATCH_FILES:
        assert files / size > width, "each of those that run has one"
    assert size == MAX_BATCH_FILES or files / size <= width * BATCHES_PER_SLOT, (
        "and they are not too small"
    )


class Observer(ProgressCounter):
    """Progress and token that count, and cancel the work after some checks."""

    def __init__(self, checks: int = 10**9) -> None:
        super().__init__()
        self.left = checks
        self.seen = (0, 0)

    def advance(self, files: int, size: int) -> None:
        super().advance(files, size)
        self.seen = max(self.seen, (self.files, self.bytes))

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cancelled("not wanted")


def double(number: int, progress: Progress) -> int:
    return 2 * number


def absolute(number: int, progress: Progress) -> int:
    progress.advance(1, number)
    return abs(number)


def dispatcher_for(workspace: Workspace, executor: Executor, width: int) -> Dispatcher:
    registry = Registry(os.path.dirname(workspace.path))
    return Dispatcher(
        registry,
        executor,
        width,
        write_out=False,
        workspace=workspace,
        progress=NoProgress(),
        cancel=NeverCancelled(),
    )


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def observed(checks: int = 10**9) -> dict[str, Any]:
    observer = Observer(checks)
    return {"progress": observer, "cancel": observer}


def nothing() -> None:
    """There is nothing to give up."""


@pytest.mark.parametrize("width", [1, 3])
def test_every_batch_has_its_result(pool: Executor, width: int) -> None:
    results = run_all(pool, width, double, range(50), **observed(), give_up=nothing)
    assert sorted(results) == [2 * i for i in range(50)]
    assert list(run_all(pool, width, double, (), **observed(), give_up=nothing)) == []


@pytest.mark.usefixtures("importable")
def test_it_runs_on_processes_too() -> None:
    with ProcessPoolExecutor(2) as executor:
        results = run_all(executor, 2, absolute, range(-9, 0), **observed(), give_up=nothing)
        assert sorted(results) == list(range(1, 10))


def test_only_few_batches_are_made_and_handed_out_at_a_time(pool: Executor) -> None:
    made = ingested = 0
    most = 0

    def batches() -> Iterator[int]:
        nonlocal made, most
        for i in range(100):
            made += 1
            most = max(most, made - ingested)
            yield i

    for _ in run_all(pool, 2, double, batches(), **observed(), give_up=nothing):
        ingested += 1
    assert most <= 2 * (2 + 1) + 1


def test_light_work_that_takes_long_goes_to_the_executor_after_all(
    pool: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..incoming").mkdir()
    mine = threading.get_ident()

    def work(number: int, progress: Progress) -> list[tuple[int, bool]]:
        return [(number, threading.get_ident() == mine)]

    with new_workspace(str(tmp_path)) as workspace:
        dispatcher = dispatcher_for(workspace, pool, width=2)
        for seconds, here in ((60.0, 10), (-1.0, 1)):
            monkeypatch.setattr(execute, "LIGHT_SECONDS", seconds)
            batches = iter(range(10))
            done = list(dispatch(dispatcher, work, batches, weight=Weight.LIGHT))
            assert sorted(number for number, _ in done) == list(range(10))
            assert sum(is_here for _, is_here in done) == here


def test_the_first_failure_gives_the_rest_up_and_waits_for_what_runs(pool: Executor) -> None:
    given_up = threading.Event()
    ended: list[int] = []

    def work(number: int, progress: Progress) -> int:
        if number == 0:
            raise ZeroDivisionError
        assert given_up.wait(30)
        time.sleep(0.01)
        ended.append(number)
        return number

    with pytest.raises(ZeroDivisionError):
        list(run_all(pool, 3, work, range(100), **observed(), give_up=given_up.set))
    assert len(ended) <= 3, "what had not begun does not begin"
    before = len(ended)
    time.sleep(0.05)
    assert len(ended) == before, "and nothing runs any more"


def test_a_caller_who_loses_interest_is_heard_while_a_batch_runs(pool: Executor) -> None:
    given_up = threading.Event()

    def wait(seconds: float, progress: Progress) -> bool:
        return given_up.wait(seconds)

    with pytest.raises(Cancelled):
        list(run_all(pool, 1, wait, [30.0], **observed(3), give_up=given_up.set))


def test_a_caller_who_stops_asking_gives_the_rest_up(pool: Executor) -> None:
    given_up = threading.Event()
    results = run_all(pool, 1, double, range(100), **observed(), give_up=given_up.set)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert given_up.is_set()


def test_a_job_shows_signs_of_life_while_one_batch_takes_long(
    pool: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of terabytes is one batch; services on other hosts must not give it up.
    monkeypatch.setattr(batch_run, "DISPATCH_POLL_SECONDS", 0.001)
    (tmp_path / "..incoming").mkdir()
    with new_workspace(str(tmp_path)) as workspace:
        dispatcher = dispatcher_for(workspace, pool, width=1)
        shown = threading.Event()
        monkeypatch.setattr(workspace, "renew", shown.set)

        def work(_: int, progress: Progress) -> list[bool]:
            return [shown.wait(2)]

        results = list(dispatch(dispatcher, work, iter([1]), weight=Weight.HEAVY))
        assert results == [True], "no sign of life until it was done"


def test_what_is_done_of_a_batch_is_seen_while_it_runs(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "DISPATCH_POLL_SECONDS", 0.001)
    observer = Observer()

    def work(_: int, progress: Progress) -> bool:
        progress.advance(1, 100)
        progress.advance(0, 7)
        deadline = time.monotonic() + 20
        while observer.seen != (1, 107) and time.monotonic() < deadline:
            time.sleep(0.001)
        return observer.seen == (1, 107)

    assert list(
        run_all(pool, 1, work, [1], progress=observer, cancel=observer, give_up=nothing)
    ) == [True]
    assert (observer.files, observer.bytes) == (0, 0), "the caller counts what has ended"


def test_a_file_is_counted_once_however_often_it_was_read(tmp_path: Path) -> None:
    counter = ProgressCounter()
    progress = BatchProgress(str(tmp_path), counter)
    progress.advance(0, 50)
    progress.advance(0, 100)
    assert (counter.files, counter.bytes) == (0, 150)
    progress.end_file(100)
    progress.advance(0, 3)
    assert (counter.files, counter.bytes) == (1, 103)
    assert pickle.loads(pickle.dumps(counter)).bytes == 0


def test_a_batch_ends_when_its_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "CANCEL_CHECK_SECONDS", 0.0)
    (tmp_path / "tree").mkdir()
    progress = BatchProgress(str(tmp_path / "tree"), NoProgress())
    progress.advance(0, 0)
    (tmp_path / "tree").rmdir()
    with pytest.raises(Cancelled):
        progress.advance(0, 0)
    with pytest.raises(Cancelled):
        progress.check()
