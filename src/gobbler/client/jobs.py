"""Jobs: requests that the service carries out while the client does something else.

The state of a job is read over HTTP if the service has an address, else from the files in
``staging/..spool/cur``; see :mod:`gobbler.model.jobs`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gobbler.client import errors
from gobbler.client.errors import error_from_answer
from gobbler.client.http import Http, encoded
from gobbler.client.notices import StillRunning, Waiting, notify, notify_of_answer, notify_once
from gobbler.client.retry import POLL_FIRST_PAUSE, POLL_SHORT_PAUSE, next_poll_pause
from gobbler.errors import CancelledByOwner, GobblerError, Missing, printable
from gobbler.fs.clock import now, time_at
from gobbler.fs.heartbeat import BEAT_SECONDS, HeartbeatReader
from gobbler.fs.open import READ, closing, read_all
from gobbler.model.jobs import (
    ANSWER_SUFFIX,
    CANCELLED,
    CUR,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    WORKERS,
    JobState,
    job_answer,
    no_such_job,
    read_answer,
    split_job,
    without_worker,
)
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.progress import Waiting as HearsWaiting
from gobbler.model.records import format_time
from gobbler.model.requests import MAX_REQUEST_BYTES, action_of, subject_of

VISIBLE_SECONDS = 60.0
"""Seconds after which all hosts of a network filesystem should see a new request."""

CANCEL_SECONDS = 10.0
"""Seconds to wait for the end of a job that was cancelled."""

GIVE_UP_SECONDS = 3.0
"""The same for who was interrupted, and wants to end."""

TELL_AFTER = BEAT_SECONDS + 0.5
"""Seconds for which a job is held up before the user is told why: a worker may just start."""


class JobReader(Protocol):
    """Reads the state of a job."""

    def __call__(self, job: str) -> JobState:
        """The state of ``job``; raises :class:`~gobbler.errors.Missing` if it is unknown."""


@dataclass(frozen=True)
class HttpJobReader:
    """Reads jobs from the service ``http``."""

    http: Http

    def __call__(self, job: str) -> JobState:
        """The state of ``job``."""
        return self.http.get(f"/jobs/{encoded(job)}", JobState)


@dataclass(frozen=True)
class SpoolJobReader:
    """Reads jobs from the spool of ``staging``."""

    staging: str

    @functools.cached_property
    def _workers(self) -> HeartbeatReader:
        return HeartbeatReader(f"{self.staging}/{SPOOL}/{CUR}/{WORKERS}")

    def __call__(self, job: str) -> JobState:
        """The state of ``job``. It tells if there is no worker that could go on with the job."""
        state, since = self._read(job)
        if not state.is_final and self._workers.is_silent(since):
            return without_worker(state)
        return state

    def _read(self, job: str) -> tuple[JobState, float | None]:
        """The state of ``job``, and since when it waits in the inbox, by the filesystem's clock."""
        spool = f"{self.staging}/{SPOOL}"
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                with open(f"{spool}/{CUR}/{job}{STATE_SUFFIX}", "rb") as file:
                    state = msgspec.json.decode(file.read(), type=JobState)
                if not state.is_final:
                    return state, None
                with open(f"{spool}/{CUR}/{job}{ANSWER_SUFFIX}", "rb") as file:
                    answer = msgspec.json.decode(file.read(), type=dict[str, object])
                return msgspec.structs.replace(state, answer=answer), None
            _, name = split_job(job)
            with contextlib.suppress(FileNotFoundError):
                return _waiting(job, name, f"{spool}/{NEW}/{name}")
            # It may have moved from `new` to `cur` in between: read both again.
        raise no_such_job(job)


def _waiting(job: str, name: str, path: str) -> tuple[JobState, float]:
    """The state of a job whose request file waits in the inbox, and since when it does.

    Its owner can read it.
    """
    since = os.lstat(path).st_ctime
    submitted = format_time(time_at(since))
    address = ""
    with contextlib.suppress(OSError), closing(os.open(path, READ)) as descriptor:
        address = subject_of(read_all(descriptor, MAX_REQUEST_BYTES)).address
    return JobState(job, action_of(name) or "", "", "waiting", submitted, address=address), since


@dataclass(frozen=True)
class _EndedJobReader:
    state: JobState

    def __call__(self, job: str) -> JobState:
        del job
        return self.state


class Job:
    """A request that the service carries out, by the ``name`` of its job.

    It can be pickled and copied. Two jobs are equal if they have the same name and service.
    """

    def __init__(
        self,
        name: str,
        reader: JobReader,
        cancel: Callable[[], object],
        *,
        is_new: bool = False,
    ) -> None:
        self.name = name
        self._reader = reader
        self._cancel = cancel
        # Other hosts may not see the file of a new request at once.
        self._visible_seconds = VISIBLE_SECONDS if is_new else 0.0
        self._last: JobState | None = None
        self._when_ended: Callable[[], object] | None = None

    @classmethod
    def ended(cls, state: JobState) -> Job:
        """A job that ended, with this ``state``, before the client could follow it."""
        job = cls(state.job, _EndedJobReader(state), dict)
        job._last = state
        return job

    def __repr__(self) -> str:
        """The name, and the state that was read last; nothing is read."""
        state = "unknown" if self._last is None else self._last.state
        return printable(f"<Job {self.name}: {state}>")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.name == other.name and self._reader == other._reader

    def __hash__(self) -> int:
        return hash(self.name)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_when_ended": None}  # the original calls it

    def state(self) -> JobState:
        """The state of the job, read again unless it has ended.

        Raises :class:`~gobbler.errors.Missing` if the service does not know the job (any more).
        """
        if self._last is None or not self._last.is_final:
            self._note(self._reader(self.name))
        assert self._last is not None
        return self._last

    def _note(self, state: JobState) -> None:
        self._last = state
        if state.is_final and self._when_ended is not None:
            self._when_ended()

    def when_ended(self, call: Callable[[], object]) -> None:
        """Call ``call`` when a state is read that is final; at once if it is final already."""
        if self._last is not None and self._last.is_final:
            call()
        else:
            self._when_ended = call

    def progress(self) -> tuple[int, int | None]:
        """Bytes that are done, and bytes expected in all (``None`` until that is known)."""
        progress = self.state().progress
        return progress.bytes, progress.bytes_expected

    def wait(
        self,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> dict[str, object]:
        """Wait until the job has ended; return the service's answer.

        Args:
            timeout: Seconds to wait at most.
            progress: Receives the progress of the job.
            pause: Called with the seconds to wait between two polls. An error that it raises
                ends the wait.

        Raises:
            RequestFailed: The job failed; with the reason of the service.
            TooSlow: The job did not end within ``timeout`` seconds. It continues.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        report = _ProgressReport(progress or NoProgress())
        seconds = POLL_FIRST_PAUSE
        state = self._visible_state()
        while not state.is_final:
            report.update(state)
            if deadline is not None and time.monotonic() > deadline:
                raise errors.TooSlow(
                    f"job {self.name} did not end within {timeout:g} seconds",
                    hint=f"It continues. See its state with: gobbler jobs show {self.name}",
                )
            left = seconds if deadline is None else deadline - time.monotonic()
            pause(max(0.0, min(seconds, left)))
            seconds = next_poll_pause(seconds)
            state = self._visible_state()
        report.update(state)
        answer = answer_of(state)
        notify_of_answer(answer)
        return answer

    def _visible_state(self) -> JobState:
        """The state of a job that may be too new to be visible on this host."""
        deadline = time.monotonic() + self._visible_seconds
        while True:
            try:
                return self.state()
            except Missing:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SHORT_PAUSE)

    def cancel(self) -> JobState:
        """Cancel the job, wait until the service has rolled it back, and return its state.

        The job may still succeed. Raises :class:`~gobbler.client.errors.RequestFailed` if it has
        ended already.
        """
        ended = self._cancel()
        if isinstance(ended, JobState):
            self._note(ended)
        else:
            with contextlib.suppress(GobblerError):
                self.wait(timeout=CANCEL_SECONDS)
        return self.state()

    def give_up(self) -> None:
        """Cancel the job for somebody who was interrupted: within a few seconds, or never.

        Warns if it could not be cancelled in time.
        """

        def cancel() -> None:
            for step in (self.state, self.cancel, self.state):
                with contextlib.suppress(GobblerError, OSError):
                    if step().is_final:
                        return

        is_unknown = self._last is None
        thread = threading.Thread(target=cancel, name="cancel", daemon=True)
        thread.start()
        thread.join(GIVE_UP_SECONDS)
        last = self._last
        if (last is not None and not last.is_final) or (is_unknown and thread.is_alive()):
            notify(
                f"job {self.name} was not cancelled yet; see what becomes of it with: "
                f"gobbler jobs show {self.name}",
                StillRunning,
            )


def cancelled_state(job: str) -> JobState:
    """The state of a job that nobody began, and whose owner has withdrawn it."""
    time, error = format_time(now()), CancelledByOwner(CANCELLED)
    answer = job_answer(error.answer(), error.status)
    action = action_of(split_job(job)[1]) or ""
    return JobState(job, action, "", "cancelled", time, finished=time, answer=answer)


class _ProgressReport:
    """Reports the changes between the states of a job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._expected: tuple[int, int | None] | None = None
        self._files = self._bytes = 0
        self._held_up = "", 0.0

    def update(self, state: JobState) -> None:
        """Report what has changed since the last state."""
        found = state.progress
        self._tell(found.waits_for or "")
        if found.files_expected is None:
            return
        expected = found.files_expected, found.bytes_expected
        if expected != self._expected:
            self._expected = expected
            self._progress.expect(*expected)
        self._progress.advance(found.files - self._files, found.bytes - self._bytes)
        self._files, self._bytes = found.files, found.bytes

    def _tell(self, note: str) -> None:
        """Tell what the job waits for, if it does so for a while."""
        now = time.monotonic()
        if note != self._held_up[0]:
            self._held_up = note, now
        if now - self._held_up[1] < TELL_AFTER and note:
            return
        if isinstance(self._progress, HearsWaiting):
            self._progress.waits_for(note)
        elif note:
            notify_once(note, Waiting)


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
