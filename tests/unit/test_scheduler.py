"""The scheduler of jobs: whose job gets which place, and what does not stop it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gobbler.actions.context import ServiceContext
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.fs.lease import Lease
from gobbler.service import scheduler as schedulers
from gobbler.service.scheduler import Scheduler
from gobbler.spool.job_store import JobRecord
from gobbler.spool.spool import Spool

ALICE, BOB = 1234, 1235


class Runner:
    """Runs jobs until they are told to end, in two steps: the lease goes, then the thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.broken = None
        self.begun: list[str] = []
        self.may_release: dict[str, threading.Event] = {}
        self.released: dict[str, threading.Event] = {}
        self.may_end: dict[str, threading.Event] = {}

    def run(self, lease: Lease, record: JobRecord, attempt: int) -> None:
        name = record.name.rpartition("-")[2]
        assert self.may_release[name].wait(60)
        self._spool.remove(record.job, attempt)
        lease.release()
        self.released[name].set()
        assert self.may_end[name].wait(60)

    def abandon(self, record: JobRecord, attempt: int) -> None:
        self._spool.records.give_back(record.job, attempt)


class World:
    def __init__(self, top: Path, slots: int) -> None:
        for path, mode in staging_directories(str(top)):
            os.mkdir(path)
            os.chmod(path, mode)
        self.spool = Spool(str(top), Durability.RELAXED)
        self.runner = Runner(self.spool)
        settings: Any = SimpleNamespace(
            staging=str(top), durability=Durability.RELAXED, authorship=Authorship()
        )
        self.scheduler = Scheduler(cast(ServiceContext, settings), f"{top}/..requests", slots)
        self.scheduler._runner = cast(Any, self.runner)

    def accept(self, uid: int, name: str) -> None:
        for events in (self.runner.may_release, self.runner.released, self.runner.may_end):
            events[name] = threading.Event()
        self.spool.accept(JobRecord.of(uid, "user", f"request-upload-{name}", b"{}"))

    def turn(self) -> set[str]:
        """Begin what can begin; the names of the jobs that run."""
        self.scheduler._turn()
        return {job.rpartition("-")[2] for job in self.scheduler._long.threads}

    def end(self, name: str) -> None:
        threads = self.scheduler._long.threads.items()
        ending = [thread for job, thread in tuple(threads) if job.endswith(f"-{name}")]
        self.runner.may_release[name].set()
        self.runner.may_end[name].set()
        for thread in ending:
            thread.join(60)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_job_that_ends_while_the_scheduler_looks_is_not_subtracted_twice(
    tmp_path: Path,
) -> None:
    """Else its user would seem to have no running job, and get the place kept for others."""
    world = World(tmp_path, slots=2)
    for name in ("1", "2", "3"):
        world.accept(ALICE, name)
    assert world.turn() == {"1"}
    world.runner.may_release["1"].set()
    assert world.runner.released["1"].wait(60)
    # Its lease is free, but its thread still has its place.
    assert world.turn() == {"1"}
    world.end("1")
    assert world.turn() == {"2"}
    assert world.turn() == {"2"}
    world.accept(BOB, "bobs")
    assert world.turn() == {"2", "bobs"}
    for name in ("2", "3", "bobs"):
        world.end(name)


def test_a_job_that_was_given_back_begins_again(tmp_path: Path) -> None:
    world = World(tmp_path, slots=2)
    world.accept(ALICE, "1")
    real = world.runner._spool.remove
    world.runner._spool.remove = world.spool.records.give_back  # type: ignore[method-assign]
    assert world.turn() == {"1"}
    world.end("1")
    world.runner._spool.remove = real  # type: ignore[method-assign]
    world.runner.may_release["1"].clear()  # or it may end before it is seen to run
    # Without inotify, a directory that was just listed is not listed again at once.
    wait_until(lambda: world.turn() == {"1"})
    world.end("1")
    wait_until(lambda: world.turn() == set())


def test_what_could_not_begin_is_tried_later_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, slots=3)
    world.accept(ALICE, "1")
    world.accept(BOB, "2")
    tries: list[str] = []
    real = world.spool.records.begin

    def begin(job: str, attempts: int) -> JobRecord | None:
        if job.endswith("-1"):
            tries.append(job)
            raise OSError("the disk is broken")
        return real(job, attempts)

    monkeypatch.setattr(world.scheduler._spool.records, "begin", begin)
    for _ in range(5):
        assert world.turn() == {"2"}
    assert len(tries) == 1, "an attempt changes files, which must not cause the next one"
    assert caplog.text.count("the disk is broken") == 1
    monkeypatch.undo()
    now = time.monotonic()
    monkeypatch.setattr(schedulers.time, "monotonic", lambda: now + 2)
    assert world.turn() == {"1", "2"}
    monkeypatch.undo()
    world.end("1")
    world.end("2")


def test_no_exception_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, slots=2)
    turns: list[int] = []
    real = world.scheduler._turn

    def turn() -> float:
        turns.append(1)
        if len(turns) < 3:
            raise RuntimeError("unforeseen")
        return real()

    monkeypatch.setattr(world.scheduler, "_turn", turn)
    monkeypatch.setattr(schedulers, "FAILURE_PAUSE", 0.0)
    thread = threading.Thread(target=world.scheduler.run)
    thread.start()
    world.accept(ALICE, "1")
    world.end("1")
    wait_until(lambda: os.listdir(world.spool.records.directory) == [])
    assert world.scheduler.stop(60)
    thread.join(60)
    assert not thread.is_alive()


def test_a_job_whose_thread_does_not_start_begins_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, slots=1)
    world.accept(ALICE, "1")
    monkeypatch.setattr(schedulers, "FIRST_RETRY", 0.0)
    real, failures = threading.Thread.start, [RuntimeError("can't start new thread")]

    def start(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    world.turn()
    wait_until(lambda: world.turn() == {"1"})
    assert "can't start new thread" in caplog.text
    world.end("1")


@pytest.mark.parametrize("method", ["refresh", "wait"])
def test_no_exception_ends_the_scheduler(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    world = World(tmp_path, slots=1)
    monkeypatch.setattr(schedulers, "FAILURE_PAUSE", 0.0)
    backlog = world.scheduler._backlog
    real, failures = getattr(backlog, method), [ValueError("once")]

    def once(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(backlog, method, once)
    thread = threading.Thread(target=world.scheduler.run, daemon=True)
    thread.start()
    world.accept(ALICE, "1")
    threads = world.scheduler._long.threads
    wait_until(lambda: [thread for thread in tuple(threads.values()) if thread.is_alive()])
    wait_until(lambda: "the scheduler failed, and goes on" in caplog.text)
    world.end("1")
    assert world.scheduler.stop(60)
    thread.join(60)
    assert not thread.is_alive()
