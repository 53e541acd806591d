"""Requests that are carried out while one does something else: handles of jobs.

A job is followed over HTTP where the service has an address, else through the files in
``staging/..spool/cur``; see :mod:`gobbler.model.jobs`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

import msgspec

from gobbler.client.errors import TooSlow, error_from_answer
from gobbler.client.http import Http
from gobbler.client.retry import POLL_FIRST_PAUSE, POLL_LONGEST_PAUSE, next_poll_pause
from gobbler.errors import GobblerError, Missing
from gobbler.model.jobs import (
    ANSWER_SUFFIX,
    CUR,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    JobState,
    no_such_job,
    read_answer,
    split_job,
)
from gobbler.model.progress import NoProgress, Progress

SEEN_WITHIN = 60.0
"""Seconds after which a request should be seen by all hosts of a network filesystem."""

CANCEL_WITHIN = 10.0
"""Seconds for which a job that was cancelled is waited for."""


class Reader(Protocol):
    """Finds out how far a job is."""

    def __call__(self, job: str) -> JobState:
        """The state of ``job``; :class:`~gobbler.errors.Missing` if nothing is known."""


def read_over_http(http: Http) -> Reader:
    """Jobs of the service ``http``."""

    def read(job: str) -> JobState:
        return http.get(f"/jobs/{quote(job)}", JobState)

    return read


def read_in_spool(staging: str) -> Reader:
    """Jobs in the spool of ``staging``."""
    cur, new = f"{staging}/{SPOOL}/{CUR}", f"{staging}/{SPOOL}/{NEW}"

    def read(job: str) -> JobState:
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                with open(f"{cur}/{job}{STATE_SUFFIX}", "rb") as file:
                    state = msgspec.json.decode(file.read(), type=JobState)
                if not state.is_final:
                    return state
                with open(f"{cur}/{job}{ANSWER_SUFFIX}", "rb") as file:
                    answer = msgspec.json.decode(file.read(), type=dict[str, object])
                return msgspec.structs.replace(state, answer=answer)
            _, name = split_job(job)
            with contextlib.suppress(FileNotFoundError):
                os.lstat(f"{new}/{name}")
                return JobState(job, "", "", "waiting", "")
            # Between the two looks it may have gone from one place to the other.
        raise no_such_job(job)

    return read


class Job:
    """A request that the service has, under the ``name`` of its job.

    ``cancel`` asks for it to be given up. One that ``is_new`` may not be seen yet.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        cancel: Callable[[], object],
        *,
        is_new: bool = False,
    ) -> None:
        self.name = name
        self._reader = reader
        self._cancel = cancel
        self._patience = SEEN_WITHIN if is_new else 0.0
        self._last: JobState | None = None
        self._afterwards: Callable[[], object] = lambda: None

    @classmethod
    def ended(cls, state: JobState) -> Job:
        """A job that had ended, as ``state`` tells, before anybody could have followed it."""
        job = cls(state.job, lambda _: state, lambda: None)
        job._last = state
        return job

    def state(self) -> JobState:
        """How far it is, asked anew unless it has ended.

        Raises :class:`~gobbler.errors.Missing` if the service knows nothing of it (any more).
        """
        if self._last is None or not self._last.is_final:
            self._last = self._reader(self.name)
            if self._last.is_final:
                self._afterwards()
        return self._last

    def when_ended(self, call: Callable[[], object]) -> None:
        """Call ``call`` once it is seen to have ended: now, or when its state is asked."""
        if self._last is not None and self._last.is_final:
            call()
        else:
            self._afterwards = call

    def progress(self) -> tuple[int, int | None]:
        """Bytes that are done and that are expected, if that is known yet."""
        progress = self.state().progress
        return progress.bytes, progress.bytes_expected

    def wait(
        self,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> dict[str, object]:
        """Wait until it has ended; the service's answer.

        ``pause`` waits so many seconds before the next look; what it raises ends the wait.

        Raises :class:`~gobbler.client.errors.RequestFailed` with the service's reason, and
        :class:`~gobbler.client.errors.TooSlow` after ``timeout`` seconds (the job goes on).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        teller = _Teller(progress or NoProgress())
        seconds = POLL_FIRST_PAUSE
        state = self._state_soon()
        while not state.is_final:
            teller.tell(state)
            if deadline is not None and time.monotonic() > deadline:
                raise TooSlow(
                    f"job {self.name} did not end within {timeout:g} seconds",
                    hint=f"It goes on; ask with 'gobbler jobs show {self.name}'.",
                )
            pause(seconds)
            seconds = next_poll_pause(seconds)
            state = self._state_soon()
        teller.tell(state)
        return answer_of(state)

    def _state_soon(self) -> JobState:
        """The state of a job that is there, though a network filesystem may not show it yet."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self.state()
            except Missing:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_LONGEST_PAUSE)

    def cancel(self) -> JobState:
        """Have it given up, and everything put back; how it ended.

        It may have succeeded. Raises :class:`~gobbler.client.errors.RequestFailed` if it
        had ended before.
        """
        self._cancel()
        with contextlib.suppress(GobblerError):
            self.wait(timeout=CANCEL_WITHIN)
        return self.state()


class _Teller:
    """Tells a :class:`~gobbler.model.progress.Progress` what has changed."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._expected: tuple[int, int | None] | None = None
        self._files = self._bytes = 0

    def tell(self, state: JobState) -> None:
        found = state.progress
        if found.files_expected is None:
            return
        expected = found.files_expected, found.bytes_expected
        if expected != self._expected:
            self._expected = expected
            self._progress.expect(*expected)
        self._progress.advance(found.files - self._files, found.bytes - self._bytes)
        self._files, self._bytes = found.files, found.bytes


def answer_of(state: JobState) -> dict[str, object]:
    """The service's answer to a job that has ended.

    Raises :class:`~gobbler.client.errors.RequestFailed` if the answer is an error.
    """
    answer = read_answer(state.answer) if isinstance(state.answer, dict) else {}
    status = answer.pop("http_status", None)
    if answer.get("status") == "SUCCESS":
        return answer
    raise error_from_answer(
        status if isinstance(status, int) else 500,
        answer,
        default_reason=f"job {state.job} failed, and the service gives no reason",
    )
