"""A batch whose worker hangs is run again, and the first result counts."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from gobbler.model.progress import NeverCancelled, NoProgress, Progress, tell_waiting
from gobbler.service.metrics.metrics import CountedProgress, Metrics
from gobbler.transfer import straggler
from gobbler.transfer.dispatch import RemoteExecutor, run_all


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


def test_a_long_batch_has_the_time_that_its_work_takes() -> None:
    now = 0.0
    late: straggler.Stragglers[int] = straggler.Stragglers(lambda: now)
    quick, long, hung = Future[int](), Future[int](), Future[int]()
    late.begin(quick, 10.0, lambda: 1)
    late.begin(long, 1000.0, lambda: 2)
    late.begin(hung, 10.0, lambda: 3)
    now = 10.0
    assert late.end(quick) is None
    assert late.run_again() == []
    now = 41.0
    (twin,) = late.run_again()
    assert twin.result() == 3
    assert late.run_again() == []
    assert late.end(twin) is hung
    late.close()


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
    if isinstance(progress, NoProgress):  # the run in this process
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
            if (
                "one of two runs of a batch failed" in caplog.text
                and not executor.futures[3].done()
            ):
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
            if self.checks > 3 and not executor.futures[3].done():
                executor.futures[3].set_exception(OSError("the worker can't either"))

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
    assert any("far longer than the others" in note for note in told.notes)
    assert told.notes[-1] == ""


def test_who_waits_is_told_before_a_batch_runs_again() -> None:
    now = 0.0
    late: straggler.Stragglers[int] = straggler.Stragglers(lambda: now)
    late.begin(Future[int](), 10.0, lambda: 3)
    now = 7.0
    assert late.waits_for == ""
    now = 8.0
    assert "will soon run" in late.waits_for
    assert late.run_again() == []
    now = 16.0
    assert len(late.run_again()) == 1
    assert "the service runs the same work" in late.waits_for
    late.close()


def test_the_counted_progress_of_a_job_passes_on_what_it_waits_for() -> None:
    heard: list[str] = []

    class Job(NoProgress):
        def waits_for(self, note: str) -> None:
            heard.append(note)

    tell_waiting(CountedProgress(Metrics(), Job()), "a batch")
    assert heard == ["a batch"]
