"""Lengths of time, moments and budgets as people write them."""

from __future__ import annotations

import contextlib
import datetime as dt

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.cli.amounts import age, budget, budgets, moment
from gobbler.client import Budget

HOUR, DAY = 3600, 86_400


def test_ages():
    assert [age(text) for text in ("0", "30", "30d", "12h", "90m", "2w")] == [
        *(0, 30 * DAY, 30 * DAY, 12 * HOUR, 90 * 60, 14 * DAY)
    ]


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5h", "3y", "1d2h", " 1d", "1d\n", "٣d"])
def test_what_is_no_age(text):
    with pytest.raises(click.BadParameter):
        age(text)


def test_moments():
    now = dt.datetime.now().astimezone()
    assert abs((now - moment("2h")).total_seconds() - 2 * HOUR) < 60
    assert moment("2026-01-02") == dt.datetime(2026, 1, 2).astimezone()
    assert moment("2026-01-02T03:04").tzinfo is not None
    utc = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.timezone.utc)
    assert moment("2026-01-02T03:04:00Z") == moment("2026-01-02T05:04:00+02:00") == utc


@pytest.mark.parametrize("text", ["", "yesterday", "30", "2026-13-01", "9999-01-01", "999999w"])
def test_what_is_no_moment(text):
    with pytest.raises(click.BadParameter):
        moment(text)


def test_budgets():
    assert budget("2h") == Budget(2 * HOUR, None)
    assert budget("90m") == Budget(90 * 60, None)
    assert budget("500GB") == budget("500gb") == Budget(None, 500 * 10**9)
    assert budget("2TiB") == Budget(None, 2 << 40)
    assert budget("0h") == budget("0") == Budget(0, None)
    assert budget("0GB") == Budget(None, 0)
    assert budgets([]) == Budget()
    assert budgets([budget("2h"), budget("1GB"), budget("1h")]) == Budget(HOUR, 10**9)


@pytest.mark.parametrize("text", ["", "5", "00", "1GBB", "-1h", "2 h", "1.5TB", "5b"])
def test_what_is_no_budget(text):
    with pytest.raises(click.BadParameter):
        budget(text)


@given(st.text())
def test_nothing_else_is_raised(text):
    for parse in (age, moment, budget):
        with contextlib.suppress(click.BadParameter):
            parse(text)
