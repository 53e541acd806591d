"""Tasks on threads, whose results come as they end."""

from __future__ import annotations

import threading

import pytest

from gobbler.client.parallel import for_each, in_turn
from gobbler.errors import Cancelled

PATIENCE = 30


@pytest.mark.parametrize("concurrent", [1, 3])
def test_all_results_come(concurrent):
    results = list(in_turn(lambda item, stop: item * 2, iter(range(20)), concurrent))
    assert sorted(results) == [item * 2 for item in range(20)]
    assert concurrent > 1 or results == sorted(results)
    assert list(in_turn(lambda item, stop: item, [], concurrent)) == []


@pytest.mark.parametrize("concurrent", [1, 2])
def test_items_are_taken_when_there_is_somebody_free(concurrent):
    ingested: list[int] = []

    def items():
        for item in range(10):
            ingested.append(item)
            yield item

    results = in_turn(lambda item, stop: item, items(), concurrent)
    assert ingested == []
    next(results)
    assert len(ingested) <= concurrent
    results.close()
    assert len(ingested) <= concurrent


def test_several_at_a_time():
    meeting = threading.Barrier(3, timeout=PATIENCE)
    assert len(list(in_turn(lambda item, stop: meeting.wait(), range(3), 3))) == 3


@pytest.mark.parametrize("ends", ["error", "close"])
def test_the_others_are_stopped(ends):
    """Running tasks learn that they should stop, and have ended when the iteration ends."""
    begun = threading.Event()
    ended: list[str] = []

    def task(item, stop):
        if item == "slow":
            begun.set()
            try:
                stop.wait(PATIENCE)
            except Cancelled:
                ended.append(item)
                raise
        begun.wait(PATIENCE)
        if item == "wrong":
            raise ValueError(item)
        return item

    results = in_turn(task, ["slow", "wrong" if ends == "error" else "well"], 2)
    if ends == "error":
        with pytest.raises(ValueError, match="wrong"):
            next(results)
    else:
        assert next(results) == "well"
        results.close()
    assert ended == ["slow"]


@pytest.mark.parametrize("how", ["for_each", "in_turn"])
def test_ctrl_c_while_a_thread_starts_leaves_no_task_running(monkeypatch, how):
    """The pool has not noted that thread yet, so it does not wait for it."""
    start = threading.Thread.start
    begun = threading.Event()
    ended: list[str] = []

    def task(item, stop):
        begun.set()
        try:
            stop.wait(PATIENCE)
        finally:
            ended.append(item)

    def interrupted(thread):
        start(thread)
        begun.wait(PATIENCE)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    run = for_each if how == "for_each" else lambda *arguments: list(in_turn(*arguments))
    with pytest.raises(KeyboardInterrupt):
        run(task, ["item"], 2)
    assert ended == ["item"]
