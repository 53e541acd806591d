"""Whose job is next: a rule on values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gobbler.rules.fairness import UserTurns, Waiting

uids = st.integers(0, 3)
moments = st.floats(0, 100)
waiting = st.lists(st.builds(Waiting, st.uuids().map(str), uids, moments), max_size=20)
running = st.dictionaries(uids, st.integers(0, 3))
served = st.dictionaries(uids, moments)


def drain(turns: UserTurns, running: dict[int, int], served: dict[int, float]) -> list[Waiting]:
    """Take all, with room for everybody."""
    ingested = []
    while (job := turns.next(running, served, free=9, slots=9)) is not None:
        ingested.append(job)
    return ingested


@given(waiting, running, served)
def test_each_job_has_its_turn_once(jobs, running, served) -> None:
    turns = UserTurns(jobs)
    assert len(turns) == len(jobs)
    assert sorted(drain(turns, running, served)) == sorted(jobs)
    assert len(turns) == 0


@given(waiting, running, served)
def test_of_one_user_the_oldest_comes_first(jobs, running, served) -> None:
    ingested = drain(UserTurns(jobs), running, served)
    for uid in range(4):
        own = [job for job in ingested if job.uid == uid]
        assert own == sorted(own, key=lambda job: (job.since, job.job))


@given(waiting, running, served, st.integers(0, 5), st.integers(1, 5))
def test_nobody_waits_for_whom_more_is_done(jobs, running, served, free, slots) -> None:
    chosen = UserTurns(jobs).next(running, served, free=free, slots=slots)
    if chosen is None:
        blocked = free == 0 or all(running.get(job.uid) for job in jobs)
        assert blocked
        return
    assert free > 0
    for other in jobs:
        if not (free == 1 and slots > 1 and running.get(other.uid)):
            assert rank(chosen, running, served) <= rank(other, running, served)


def rank(job: Waiting, running: dict[int, int], served: dict[int, float]) -> tuple[float, float]:
    return running.get(job.uid, 0), served.get(job.uid, 0.0)


@given(running, st.integers(2, 5))
def test_the_last_slot_is_for_those_of_whom_nothing_runs(running, slots) -> None:
    jobs = [Waiting(f"{uid}", uid, 0.0) for uid in range(4)]
    chosen = UserTurns(jobs).next(running, {}, free=1, slots=slots)
    assert chosen is None or not running.get(chosen.uid)
    assert (chosen is None) == all(running.get(uid) for uid in range(4))


def test_the_only_slot_there_is_is_for_everybody() -> None:
    assert UserTurns([Waiting("a", 1, 0.0)]).next({1: 3}, {}, free=1, slots=1) is not None


@given(st.integers(1, 200), st.integers(1, 4))
def test_one_users_many_jobs_delay_anothers_by_one_at_most(many: int, slots: int) -> None:
    jobs = [Waiting(f"many-{i}", 1, float(i)) for i in range(many)]
    turns = UserTurns([*jobs, Waiting("single", 2, 1e9)])
    served: dict[int, float] = {}
    for moment in range(2):
        job = turns.next({}, served, free=slots, slots=slots)
        assert job is not None
        served[job.uid] = float(moment + 1)
        if job.uid == 2:
            return
    raise AssertionError("the single job has waited for two others")
