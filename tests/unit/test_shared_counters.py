"""Numbers that processes count together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import pytest

from gobbler.service.metrics.shared_counters import SharedCounters


def total(counters: SharedCounters, cell: int, *, alive: bool) -> float:
    return sum(counters.column(cell, alive=alive))


def test_nothing_is_counted_before_a_row_is_taken() -> None:
    counters = SharedCounters(2, 2)
    counters.add(0)
    assert total(counters, 0, alive=False) == 0
    counters.join()
    counters.add(0)
    counters.add(1, 2.5)
    assert counters.columns(alive=False) == [(1.0, 0.0), (2.5, 0.0)]


COUNT = """
counters.join()
counters.add(0, 5)
ready.set()
go.wait(30)
"""
"""What a child does. A spawned one could not import a function of this file."""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_count_in_rows_of_their_own(method: str) -> None:
    context = multiprocessing.get_context(method)
    counters = SharedCounters(1, 3)
    counters.join()
    counters.add(0)
    for number in (1, 2):
        ready, go = context.Event(), context.Event()
        child = context.Process(
            target=exec, args=(COUNT, {"counters": counters, "ready": ready, "go": go})
        )
        child.start()
        assert ready.wait(30)
        assert total(counters, 0, alive=True) == 1 + 5 * number
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        # The next process counts on in the row of the dead one.
        assert sorted(counters.column(0, alive=False)) == [0, 1, 5 * number]
        assert total(counters, 0, alive=True) == 1


def test_a_process_without_a_row_counts_nothing() -> None:
    context = multiprocessing.get_context("fork")
    counters = SharedCounters(1, 1)
    counters.join()
    ready, go = context.Event(), context.Event()
    go.set()
    child = context.Process(
        target=exec, args=(COUNT, {"counters": counters, "ready": ready, "go": go})
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    assert total(counters, 0, alive=False) == 0


def test_a_new_process_resets_what_the_dead_one_held() -> None:
    counters = SharedCounters(2, 1)
    counters.join()
    counters.add(0, 7)
    counters.add(1, 7)
    counters.join(resetting=[1])
    assert counters.columns(alive=True) == [(7.0,), (0.0,)]


def test_threads_lose_no_count() -> None:
    counters = SharedCounters(1, 1)
    counters.join()

    def add() -> None:
        for _ in range(20_000):
            counters.add(0)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total(counters, 0, alive=True) == 80_000
