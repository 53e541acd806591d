"""How many batches run at a time, on filesystems and for work of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.transfer.concurrency_tuner import HOLD_SECONDS, ConcurrencyTuner


def chosen(most: int, rate: Callable[[int], float], seconds: float = 2.5) -> list[int]:
    """The number of batches at each twentieth of a second, if that number gets ``rate`` done."""
    pace, done, found = ConcurrencyTuner(most), 0.0, []
    for step in range(int(seconds * 20)):
        pace.measure(step / 20, done)
        found.append(pace.at_a_time)
        done += rate(pace.at_a_time) / 20
    return found


def test_where_each_call_takes_long_all_run() -> None:
    assert chosen(32, lambda number: 100.0 * number)[-1] == 32
    assert chosen(24, lambda number: 100.0 * number)[-1] == 24


def test_as_many_as_there_are_processors() -> None:
    assert chosen(8, lambda number: 100.0 * min(number, 4))[-1] == 4


def test_where_more_get_less_done_one_runs() -> None:
    found = chosen(8, lambda number: 100.0 / number)
    assert max(found) == 2
    assert found.count(2) <= 4  # twentieths of a second: for one moment


def test_what_did_not_pay_is_tried_again() -> None:
    pace, done = ConcurrencyTuner(4), 0.0
    for step in range(200):
        now = step / 20
        pace.measure(now, done)
        others = 1 if now < HOLD_SECONDS else 0
        done += 5.0 * (1 if others else pace.at_a_time)
    assert pace.at_a_time == 4


def test_nothing_is_decided_before_anything_is_done() -> None:
    pace = ConcurrencyTuner(8)
    for step in range(100):
        pace.measure(step / 20, 0.0)
    assert pace.at_a_time == 1


@pytest.mark.parametrize("most", [1, 3])
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1000)), max_size=60))
def test_it_stays_in_its_bounds(most: int, looks: list[tuple[float, float]]) -> None:
    pace, now, done = ConcurrencyTuner(most), 0.0, 0.0
    for seconds, more in looks:
        now, done = now + seconds, done + more
        pace.measure(now, done)
        assert 1 <= pace.at_a_time <= most
