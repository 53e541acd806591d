"""Jobs that clients follow: one task reads the state of each, however many clients there are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from gobbler.errors import GobblerError
from gobbler.model.jobs import JobState

FIRST_INTERVAL = 0.25
"""Seconds before the state of a job is read again; each that brings nothing new makes the next one
a tenth longer."""

LONGEST_INTERVAL = 1.0


class FollowedJob:
    """A job, and its ``state`` as it was read last; not safe for threads.

    ``is_over``: no other state will come.
    """

    def __init__(self, state: JobState) -> None:
        self.state = state
        self.is_over = state.is_final
        self.followers = 0
        self.reading: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    async def change(self, seconds: float) -> None:
        """Wait for another state or the end, at most for ``seconds``."""
        changed = self._changed
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), seconds)

    def show(self, state: JobState) -> None:
        """Let all who follow the job see ``state``."""
        self.state = state
        self.is_over = state.is_final
        self._wake()

    def end(self) -> None:
        """Let nobody follow the job any longer; safe for threads."""
        self.is_over = True
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class FollowedJobs:
    """The jobs that the clients of one HTTP worker follow; ``read`` reads the state of a job."""

    def __init__(self, read: Callable[[str], Awaitable[JobState]]) -> None:
        self._read = read
        self._jobs: dict[str, FollowedJob] = {}
        self._is_ending = False

    def end(self) -> None:
        """Let nobody follow a job any longer: the service stops. Safe for threads."""
        self._is_ending = True
        for followed in tuple(self._jobs.values()):
            followed.end()

    @contextmanager
    def follow(self, state: JobState) -> Iterator[FollowedJob]:
        """The job with this ``state``, which is read again and again during the block."""
        followed = self._jobs.get(state.job)
        if followed is None:
            followed = self._jobs[state.job] = FollowedJob(state)
        elif not followed.is_over:
            followed.show(state)  # it has just been read
        if self._is_ending:
            followed.end()
        elif followed.reading is None and not followed.is_over:
            followed.reading = asyncio.get_running_loop().create_task(self._follow(followed))
        followed.followers += 1
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                del self._jobs[state.job]
                if followed.reading is not None:
                    followed.reading.cancel()

    async def _follow(self, followed: FollowedJob) -> None:
        interval = FIRST_INTERVAL
        try:
            while not followed.is_over:
                await asyncio.sleep(interval)
                state = await self._read(followed.state.job)
                if state == followed.state:
                    interval = min(interval * 1.1, LONGEST_INTERVAL)
                elif not followed.is_over:
                    interval = FIRST_INTERVAL
                    followed.show(state)
        except GobblerError:
            return  # it has expired
        finally:
            followed.end()
