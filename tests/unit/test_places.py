"""Who gets a place, and who waits or is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Busy, Code
from gobbler.rules.places import PlaceTable, Shares
from gobbler.service.places import Places
from gobbler.service.transfers import (
    BUDGET,
    LARGEST_PART,
    PARTS_HELD,
    SLOWEST_WHEN_CROWDED,
    SMALLEST_PART,
    Check,
    part_size,
)


def test_one_user_never_has_all_places() -> None:
    table: PlaceTable[str, int] = PlaceTable(Shares(places=8, each=6, reserved=3))
    assert [table.take("ada") for _ in range(7)] == [True] * 5 + [False] * 2
    assert table.take("bob")
    assert not table.take("bob"), "the last places are for users without one"
    assert table.take("eve")


def test_who_has_fewest_places_is_next_then_who_was_served_longest_ago() -> None:
    table: PlaceTable[str, str] = PlaceTable(Shares(places=3, each=3))
    assert all(table.take("ada") for _ in range(3))
    for number in range(2):
        for user in ("ada", "bob", "eve"):
            assert table.wait(user, f"{user}{number}")
    order = []
    for user in ("ada", "ada", "ada", "bob", "eve"):
        order += table.leave(user)
    assert order == ["bob0", "eve0", "ada0", "bob1", "eve1"]


def test_a_place_is_wanted_only_by_who_would_get_it() -> None:
    table: PlaceTable[str, int] = PlaceTable(Shares(places=8, each=2))
    for user in ("ada", "ada", "bob"):
        assert table.take(user)
    assert table.wait("ada", 1), "she has her share"
    assert table.is_wanted("ada")
    assert not table.is_wanted("bob"), "his place does not help her"


def test_only_so_much_may_wait() -> None:
    table: PlaceTable[str, int] = PlaceTable(Shares(places=1, each=1, waiting=2))
    assert table.take("ada")
    assert [table.wait("ada", n) for n in range(3)] == [True, True, False]
    assert table.wait("bob", 9)
    assert table.withdraw("ada", 0)
    assert not table.withdraw("ada", 0)
    assert table.wait("ada", 3)
    for user in range(100):
        table.wait(f"user {user}", user)
    assert not table.wait("late", 1), "all together wait, too"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["want", "leave", "withdraw"]))))
def test_places_are_never_lost_or_given_twice(steps: list[tuple[str, str]]) -> None:
    shares = Shares(places=4, each=3, reserved=1, waiting=3)
    table: PlaceTable[str, tuple[str, int]] = PlaceTable(shares)
    running: list[str] = []
    waiting: list[tuple[str, int]] = []
    for number, (user, step) in enumerate(steps):
        if step == "want":
            if table.take(user):
                running.append(user)
            elif table.wait(user, (user, number)):
                waiting.append((user, number))
        elif step == "leave" and user in running:
            running.remove(user)
            is_wanted = table.is_wanted(user)
            begun = table.leave(user)
            assert is_wanted == bool(begun)
            for work in begun:
                waiting.remove(work)
                running.append(work[0])
        elif step == "withdraw" and waiting and table.withdraw(*(waiting[0][0], waiting[0])):
            waiting.pop(0)
        assert len(running) <= shares.places
        assert all(running.count(each) <= shares.each for each in running)
    for user in tuple(running):
        for work in table.leave(user):
            waiting.remove(work)
            running.append(work[0])
    while waiting and running:
        for work in table.leave(running.pop()):
            waiting.remove(work)
            running.append(work[0])
    assert not waiting


def test_who_waits_too_long_is_refused_and_who_leaves_takes_no_place() -> None:
    async def run() -> None:
        places: Places[str] = Places("things", Shares(places=1, each=1), 0.05)
        assert places.take("ada")
        with pytest.raises(Busy) as caught:
            await places.wait("bob")
        assert (caught.value.status, caught.value.code) == (503, Code.BUSY)
        waiting = asyncio.ensure_future(places.wait("bob"))
        await asyncio.sleep(0)
        assert places.is_wanted("ada")
        waiting.cancel()
        await asyncio.wait({waiting})
        assert not places.is_wanted("ada")
        places.leave("ada")
        async with places.one("bob"):
            assert not places.take("eve")
        assert places.take("eve")

    asyncio.run(run())


def test_a_place_that_comes_as_its_user_leaves_is_given_back() -> None:
    async def run() -> None:
        places: Places[str] = Places("things", Shares(places=1, each=1), None)
        assert places.take("ada")
        waiting = asyncio.ensure_future(places.wait("bob"))
        await asyncio.sleep(0)
        places.leave("ada")
        waiting.cancel()
        await asyncio.wait({waiting})
        assert places.take("eve")

    asyncio.run(run())


def test_parts_together_never_take_more_than_the_budget() -> None:
    free, sizes = BUDGET, []
    for _ in range(10_000):
        sizes.append(part_size(free))
        free -= (sizes[-1] - SMALLEST_PART) * PARTS_HELD
        assert free >= 0
    assert sizes[0] == LARGEST_PART
    assert sizes[-1] == SMALLEST_PART
    assert sizes == sorted(sizes, reverse=True)


def test_a_transfer_goes_on_while_its_client_takes_enough() -> None:
    before = Check(waited=5.0, taken=100)
    slowest = SLOWEST_WHEN_CROWDED
    assert Check(5.0, 100).goes_on(None, slowest), "there is nothing to compare with"
    assert Check(10.0, 101 + 5 * slowest).goes_on(before, slowest)
    assert not Check(10.0, 100 + 5 * slowest - 1).goes_on(before, slowest)
    assert Check(10.0, 101).goes_on(before, 0), "slow clients are in nobody's way"
    assert not Check(10.0, 100).goes_on(before, 0)
    assert not Check(10.0, None).goes_on(before, 0)
