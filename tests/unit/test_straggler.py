"""A batch whose worker hangs is run again, and the first result counts."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gobbler.cluster.remote_executor import AnyExecutor, conditions_of
from gobbler.errors import Cancelled
from gobbler.model.progress import (
    NeverCancelled,
    NoProgress,
    Progress,
    ProgressCounter,
    tell_waiting,
)
from gobbler.service.metrics.metrics import CountedProgress, Metrics
from gobbler.transfer import straggler
from gobbler.transfer.batch_run import run_all
from gobbler.transfer.executors import RemoteExecutor
from gobbler.transfer.run_report import REPORT_BYTES, RunReporter

NOTE = "waiting for {}{}; the service will do the same work"
WHO = f" (process {os.getpid()} on {socket.gethostname()})"


class Hanging(RemoteExecutor):
    """Runs each batch at once, except those that hang for ever."""

    def __init__(self, *hung: int) -> None:
        self.hung = hung
        self.futures: dict[int, Future[Any]] = {}

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args[0] not in self.hung:
            future.set_result(fn(*args))
        self.futures[args[0]] = future
        return future


class Watched:
    """Batches that are reported, by name, at a time that the test sets."""

    def __init__(self, reports: Path) -> None:
        self.now = 0.0
        self.late: straggler.Stragglers[str] = straggler.Stragglers(str(reports), lambda: self.now)
        self.futures: dict[str, Future[str]] = {}
        self.reporters: dict[str, RunReporter] = {}

    def submit(self, *names: str) -> None:
        for name in names:
            counter = self.late.counter()
            self.reporters[name] = pickle.loads(pickle.dumps(counter))
            self.futures[name] = Future()
            self.late.begin(self.futures[name], counter, lambda progress, name=name: name)

    def report(self, *names: str) -> None:
        for name in names:
            self.reporters[name].advance(1, 100)
            self.reporters[name].write()

    def end(self, *names: str) -> None:
        for name in names:
            assert self.late.end(self.futures[name]) is None

    def run_again_at(self, now: float) -> set[str]:
        self.now = now
        return {twin.result(30) for twin in self.late.run_again()}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.late.close()


def test_a_batch_may_take_any_time_while_it_makes_progress(watched: Watched) -> None:
    watched.submit("long", "hung", "other")
    for now in range(0, 16, 5):
        watched.report("long", "other", *(("hung",) if now == 0 else ()))
        assert watched.run_again_at(now) == set()
    watched.report("long", "other")
    assert watched.run_again_at(20) == {"hung"}
    for now in range(25, 500, 5):
        watched.report("long", "other")
        assert watched.run_again_at(now) == set()
    assert watched.late.waits_for == NOTE.format("a worker that makes no progress", WHO)


def test_a_batch_that_waits_for_its_turn_behind_large_files_does_not_straggle(
    watched: Watched,
) -> None:
    watched.submit("large", "next", "after that")
    for now in range(0, 100, 5):
        watched.report("large")
        assert watched.run_again_at(now) == set()
        assert watched.late.waits_for == ""


def test_a_batch_straggles_if_others_began_that_came_later(watched: Watched) -> None:
    watched.submit("lost", "large", "later")
    for now in (0, 4, 8):
        watched.report("large", "later")
        assert watched.run_again_at(now) == set()
    assert watched.late.waits_for == NOTE.format("work that no worker begins", "")
    for now, again in ((12, set()), (16, {"lost"})):
        watched.report("large", "later")
        assert watched.run_again_at(now) == again


def test_one_that_waited_long_and_was_short_is_no_measure(watched: Watched) -> None:
    watched.submit("large", "short")
    for now in range(0, 41, 10):
        watched.report("large")
        assert watched.run_again_at(now) == set()
    watched.report("short")
    watched.end("short")
    assert watched.run_again_at(59) == set()
    assert watched.run_again_at(61) == {"large"}


def test_a_silence_after_which_others_went_on_is_waited_for(watched: Watched) -> None:
    watched.submit("flushed", "hung")
    watched.report("flushed", "hung")
    assert watched.run_again_at(0) == set()
    watched.now = 14
    watched.end("flushed")
    assert watched.run_again_at(27) == set()
    assert watched.run_again_at(29) == {"hung"}


def test_if_no_worker_says_anything_later_batches_wait_no_more(watched: Watched) -> None:
    watched.submit("a", "b")
    watched.report("a")
    assert watched.run_again_at(0) == set()
    assert watched.run_again_at(16) == {"a", "b"}
    watched.submit("c")
    assert watched.run_again_at(17) == {"c"}
    watched.report("b")
    assert watched.run_again_at(18) == set()
    watched.submit("d")
    assert watched.run_again_at(19) == set(), "a worker is at work again"


def test_a_full_disk_prevents_reports_and_nothing_else(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(os, "open", full)
        watched.late.counter()
        watched.submit("a")
    assert isinstance(watched.reporters["a"], NoProgress)
    watched.submit("b")
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        watched.report("b")
    assert watched.run_again_at(14) == set()
    watched.end("a", "b")


def test_a_run_ends_once_its_report_is_gone(watched: Watched, tmp_path: Path) -> None:
    watched.submit("a")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(Cancelled):
        watched.reporters["a"].advance(0, 1)


def test_two_runs_of_a_batch_count_as_the_one_that_is_further() -> None:
    first = ProgressCounter()
    first.advance(2, 200)
    second = straggler.SecondCounter(first)
    counted = []
    for _ in range(3):
        second.advance(1, 100)
        counted.append((first.files + second.files, first.bytes + second.bytes))
    assert counted == [(2, 200), (2, 200), (3, 300)]


def twice(batch: int, progress: Progress) -> int:
    del progress
    return 2 * batch


@pytest.mark.parametrize("width", [1, 20])
@pytest.mark.parametrize("hung", [(), (0,), (3, 7), tuple(range(10))])
def test_all_results_come_once(
    monkeypatch: pytest.MonkeyPatch, hung: tuple[int, ...], width: int
) -> None:
    monkeypatch.setattr(straggler, "STRAGGLER_SECONDS", 0.0)
    monkeypatch.setattr(straggler, "STRAGGLER_FACTOR", 0.0)
    executor = Hanging(*hung)
    results = run_all(
        executor,
        width,
        twice,
        range(10),
        progress=NoProgress(),
        cancel=NeverCancelled(),
        give_up=lambda: None,
    )
    assert sorted(results) == [2 * batch for batch in range(10)]
    assert all(executor.futures[batch].cancelled() for batch in hung)


def failing_here(batch: int, progress: Progress) -> int:
    if isinstance(progress, straggler.SecondCounter):  # the run in this process
        raise OSError("this process can't")
    return 2 * batch


class HangingFor(Hanging):
    """Batches that hang end once they were run in vain by this process."""

    def end(self, batch: int) -> None:
        self.futures[batch].set_result(2 * batch)


def test_a_second_run_that_fails_leaves_the_first_to_succeed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(straggler, "STRAGGLER_SECONDS", 0.0)
    monkeypatch.setattr(straggler, "STRAGGLER_FACTOR", 0.0)
    executor = HangingFor(3)

    class UntilItFailed:
        def check(self) -> None:
            hung = executor.futures.get(3)
            if "one of two runs" in caplog.text and hung is not None and not hung.done():
                executor.end(3)

    results = run_all(
        executor,
        1,
        failing_here,
        range(5),
        progress=NoProgress(),
        cancel=UntilItFailed(),
        give_up=lambda: None,
    )
    assert sorted(results) == [0, 2, 4, 6, 8]


def test_a_batch_of_which_both_runs_fail_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straggler, "STRAGGLER_SECONDS", 0.0)
    monkeypatch.setattr(straggler, "STRAGGLER_FACTOR", 0.0)
    executor = Hanging(3)

    class Lost:
        checks = 0

        def check(self) -> None:
            self.checks += 1
            hung = executor.futures.get(3)
            if self.checks > 3 and hung is not None and not hung.done():
                hung.set_exception(OSError("the worker can't either"))

    results = run_all(
        executor,
        10,
        failing_here,
        range(5),
        progress=NoProgress(),
        cancel=Lost(),
        give_up=lambda: None,
    )
    with pytest.raises(OSError, match="can't"):
        list(results)


def test_who_waits_is_told_while_something_straggles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straggler, "STRAGGLER_SECONDS", 0.0)
    monkeypatch.setattr(straggler, "STRAGGLER_FACTOR", 0.0)

    class Told(NoProgress):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def waits_for(self, note: str) -> None:
            self.notes.append(note)

    told = Told()
    results = run_all(
        Hanging(3),
        10,
        twice,
        range(5),
        progress=told,
        cancel=NeverCancelled(),
        give_up=lambda: None,
    )
    assert len(list(results)) == 5
    assert NOTE.format("work that no worker begins", "") in told.notes
    assert told.notes[-1] == ""


def test_who_waits_is_told_which_processes_hang(watched: Watched, tmp_path: Path) -> None:
    watched.submit(*"abcde")
    for number, name in enumerate("abcd"):
        path = tmp_path / f"{number}.run"
        watched.report(name)
        text = path.read_text().replace(f"process {os.getpid()} ", f"process {number} ")
        path.write_text(text.ljust(REPORT_BYTES)[:REPORT_BYTES])
    assert watched.run_again_at(0) == set()
    watched.now = 8
    on = f"on {socket.gethostname()}"
    named = f" (process 0 {on}, process 1 {on}, process 2 {on}, ...)"
    note = NOTE.format("4 workers that make no progress", named)
    assert watched.late.waits_for == note
    watched.end("a", "b", "d")
    watched.now = 20
    assert watched.late.waits_for == note, "what is still true is not told in other words"
    watched.end("c")
    assert watched.late.waits_for == ""


STOPPED = 2


def stops_elsewhere(batch: int, progress: Progress) -> int:
    """Stops its process at one batch, unless that is this one."""
    if batch == STOPPED and not isinstance(progress, straggler.SecondCounter):
        os.kill(os.getpid(), signal.SIGSTOP)
    progress.advance(1, 0)
    return 2 * batch


def is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.usefixtures("importable")
def test_a_stopped_process_of_a_pool_does_not_hold_the_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        process = pool.submit(os.getpid).result(60)
        monkeypatch.setattr(
            straggler.Stragglers, "limit", lambda _: 0.1 if is_stopped(process) else 1000.0
        )
        results = run_all(
            AnyExecutor(pool, conditions_of(str(tmp_path))),
            1,
            stops_elsewhere,
            range(6),
            progress=NoProgress(),
            cancel=NeverCancelled(),
            give_up=lambda: None,
            reports=str(tmp_path),
        )
        try:
            assert sorted(results) == [2 * batch for batch in range(6)]
            assert f"the worker process {process} on {socket.gethostname()} has made" in caplog.text
        finally:
            os.kill(process, signal.SIGCONT)


def test_the_counted_progress_of_a_job_passes_on_what_it_waits_for() -> None:
    heard: list[str] = []

    class Job(NoProgress):
        def waits_for(self, note: str) -> None:
            heard.append(note)

    tell_waiting(CountedProgress(Metrics(), Job()), "a batch")
    assert heard == ["a batch"]
