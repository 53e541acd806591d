"""What is due to be verified, in which order, and until when: pure rules."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from gobbler.model.names import VersionKey
from gobbler.model.records import Summary
from gobbler.rules.bulk import (
    Budget,
    Work,
    due,
    expected,
    seconds_left,
    still_holds,
    takes_long,
    version_fingerprint,
)

from .strategies import summaries


@dataclasses.dataclass(frozen=True)
class Once:
    fingerprint: str
    finished: float


KEYS = [VersionKey("p", asset, version) for asset in "ab" for version in "123"]
moments = st.integers(0, 20).map(float)
onces = st.builds(Once, st.sampled_from(["old", "new"]), moments)
histories = st.dictionaries(st.sampled_from(KEYS), onces)


@given(histories, st.sets(st.sampled_from(KEYS)), moments)
def test_due(last, listed, before):
    fingerprints = dict.fromkeys(last, "new")
    found = due(listed, last, fingerprints, before, 20.0)
    valid = {key: once for key, once in last.items() if once.fingerprint == "new"}
    never = listed - valid.keys()
    # All that never were, and nothing else than what was not since then.
    assert set(found) == never | {
        key for key in listed & valid.keys() if valid[key].finished < before
    }
    assert len(found) == len(set(found))
    assert found[: len(never)] == sorted(never)
    rest = [valid[key].finished for key in found[len(never) :]]
    assert rest == sorted(rest)


@given(histories, st.sets(st.sampled_from(KEYS), min_size=1), moments)
def test_what_was_verified_is_not_due_again_until_all_others_were(last, listed, now):
    """Going on after each, as after being killed, comes to an end, with each done once."""
    fingerprints = dict.fromkeys(KEYS, "new")
    expected_count = len(due(listed, last, fingerprints, now, now))
    done: list[VersionKey] = []
    while left := due(listed, last, fingerprints, now, now):
        last = {**last, left[0]: Once("new", now + len(done))}
        done.append(left[0])
    assert len(done) == len(set(done)) == expected_count


def test_a_clock_that_was_wrong():
    """What was verified in a year to come would not be verified again before."""
    last = {KEYS[0]: Once("new", 1e9), KEYS[1]: Once("new", 130.0)}
    assert due(KEYS[:2], last, dict.fromkeys(last, "new"), 120.0, 100.0) == [KEYS[0]]


@given(summaries, summaries)
def test_fingerprints(one, other):
    approved = Summary(one.upload_user_id, one.upload_start, one.upload_finish)
    assert version_fingerprint(one) == version_fingerprint(approved)
    is_same = dataclasses.astuple(Once(version_fingerprint(one), 0)) == dataclasses.astuple(
        Once(version_fingerprint(other), 0)
    )
    assert still_holds(Once(version_fingerprint(one), 0), version_fingerprint(other)) == is_same
    assert version_fingerprint(None) == ""
    assert not still_holds(None, "")


amounts = st.integers(0, 1000)


@given(st.none() | amounts, st.none() | amounts, amounts, amounts)
def test_a_budget_is_used_up_once_and_for_all(seconds, size, spent_seconds, spent):
    budget = Budget(seconds, size)
    is_used_up = budget.is_used_up(spent_seconds, spent)
    assert is_used_up == (
        (seconds is not None and spent_seconds >= seconds) or (size is not None and spent >= size)
    )
    if is_used_up:
        assert budget.is_used_up(spent_seconds + 1, spent)
        assert budget.is_used_up(spent_seconds, spent + 1)
    assert not Budget().is_used_up(spent_seconds, spent)


@given(amounts, amounts, amounts)
def test_expected(versions, size, unknown):
    found = expected(Work(versions, size), unknown)
    assert expected(Work(versions, size), 0) == size
    if versions == 0 and unknown:
        assert found is None
    else:
        assert found is not None
        assert found >= size


def test_expected_of_like_versions():
    assert expected(Work(2, 10), 3) == 25


@given(st.floats(0.1, 1e6), amounts, amounts, amounts, amounts)
def test_seconds_left(elapsed, versions, size, more, bytes_left):
    done, left = Work(versions, size), Work(more, bytes_left)
    found = seconds_left(elapsed, done, left)
    if versions == size == 0:
        assert found is None
        return
    assert found is not None
    assert found >= 0
    assert seconds_left(elapsed, done, Work(0, 0)) == 0
    assert found <= seconds_left(elapsed, done, Work(more + 1, bytes_left + 1))
    assert abs(seconds_left(elapsed, done, done) - elapsed) < 1e-6 * elapsed


def test_takes_long():
    assert not takes_long(100, 1 << 20)
    assert takes_long(1, 1 << 40)
    assert takes_long(1_000_000, 0)
