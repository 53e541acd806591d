"""Jobs that clients follow: one reader for all of them, and every stream ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gobbler.errors import Missing
from gobbler.model.jobs import JobState
from gobbler.service import followed_jobs
from gobbler.service.followed_jobs import FollowedJobs

RUNNING = JobState("1-request-x-1", "x", "ada", "running", "2026-11-20T09:15:02Z")
DONE = msgspec.structs.replace(RUNNING, state="done")


class Reader:
    """Reads the states that the test lists; then the job is gone, or reading fails otherwise."""

    def __init__(self, *states: JobState, last: Exception | None = None) -> None:
        self.states = list(states)
        self.last = last or Missing("there is no such job")
        self.count = 0

    async def __call__(self, job: str) -> JobState:
        assert job == RUNNING.job
        self.count += 1
        if not self.states:
            raise self.last
        return self.states.pop(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_jobs, "FIRST_INTERVAL", 0.0)


async def seen(jobs: FollowedJobs, begun: asyncio.Semaphore | None = None) -> list[str]:
    """The states that a client sees, until no other comes."""
    found = [RUNNING.state]
    with jobs.follow(RUNNING) as followed:
        if begun is not None:
            begun.release()
        while True:
            if followed.state.state != found[-1]:
                found.append(followed.state.state)
            if followed.is_over:
                return found
            await followed.change(30)


def test_a_job_is_read_once_for_all_who_follow_it() -> None:
    reader = Reader(*[RUNNING] * 5, DONE)

    async def follow() -> list[list[str]]:
        jobs = FollowedJobs(reader)
        return await asyncio.gather(*(seen(jobs) for _ in range(200)))

    assert asyncio.run(follow()) == [["running", "done"]] * 200
    assert reader.count == 6


@pytest.mark.parametrize("last", [Missing("it has expired"), OSError("the disk")])
def test_a_job_that_can_not_be_read_any_more_is_over(last: Exception) -> None:
    reader = Reader(RUNNING, last=last)

    async def follow() -> list[str]:
        return await asyncio.wait_for(seen(FollowedJobs(reader)), 30)

    assert asyncio.run(follow()) == ["running"]


def test_nothing_is_read_when_nobody_follows() -> None:
    reader = Reader(*[RUNNING] * 1000)

    async def follow() -> int:
        jobs = FollowedJobs(reader)
        with jobs.follow(RUNNING):
            await asyncio.sleep(0)
        before = reader.count
        for _ in range(20):
            await asyncio.sleep(0)
        return reader.count - before

    assert asyncio.run(follow()) <= 1


def test_the_end_of_the_service_ends_all() -> None:
    async def read(job: str) -> JobState:
        await asyncio.sleep(3600)  # a mount that hangs
        raise AssertionError(job)

    async def follow() -> list[list[str]]:
        jobs, begun = FollowedJobs(read), asyncio.Semaphore(0)
        streams = [asyncio.create_task(seen(jobs, begun)) for _ in range(3)]
        for _ in streams:
            await begun.acquire()
        jobs.end()
        late = asyncio.create_task(seen(jobs))
        return await asyncio.wait_for(asyncio.gather(*streams, late), 30)

    assert asyncio.run(follow()) == [["running"]] * 4


def test_who_joins_sees_no_older_state() -> None:
    async def follow() -> str:
        jobs = FollowedJobs(Reader(*[RUNNING] * 1000))
        with jobs.follow(RUNNING), jobs.follow(DONE) as followed:
            return followed.state.state

    assert asyncio.run(follow()) == "done"
