"""States and answers of jobs, which users read in ``staging/..spool/cur``."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

import msgspec

from gobbler.errors import Fault, GobblerError, Missing
from gobbler.fs.atomic_write import replace
from gobbler.fs.clock import now, time_at
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.heartbeat import HeartbeatReader
from gobbler.fs.open import (
    account_name,
    closing,
    enter_directory,
    exists,
    open_users_file,
    read_all,
)
from gobbler.fs.record_file import read_file
from gobbler.model.jobs import (
    ANSWER_SUFFIX,
    CUR,
    JOBS,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    WORKERS,
    JobState,
    final_state,
    job_answer,
    no_such_job,
    read_answer,
    split_job,
    without_worker,
)
from gobbler.model.records import decode, format_time
from gobbler.model.requests import MAX_REQUEST_BYTES, action_of, subject_of
from gobbler.spool.job_store import TEMPORARY_PREFIX


class JobAnswers:
    """States and answers of the jobs of one staging directory."""

    def __init__(self, staging: str, durability: Durability) -> None:
        self._durability = durability
        self._new = f"{staging}/{SPOOL}/{NEW}"
        self._cur = f"{staging}/{SPOOL}/{CUR}"
        self._jobs = f"{staging}/{SPOOL}/{JOBS}"
        self._workers = HeartbeatReader(f"{self._cur}/{WORKERS}")

    def write_state(self, state: JobState) -> None:
        """Let users read the state of a job; not flushed to disk."""
        text = _lines(msgspec.structs.replace(state, answer=msgspec.UNSET))
        replace(self._path(state.job, STATE_SUFFIX), text, flush=False, workspace=self._jobs)

    def write_answer(self, state: JobState) -> None:
        """Let users read the answer in ``state``; it is on disk when this returns."""
        full = self._durability is Durability.FULL
        path = self._path(state.job, ANSWER_SUFFIX)
        replace(path, _lines(state.answer), flush=full, workspace=self._jobs)
        self.write_state(state)
        flush_directory(self._cur, self._durability)

    def has(self, job: str) -> bool:
        """Whether ``job`` is answered."""
        return exists(self._path(job, ANSWER_SUFFIX))

    def remove(self, job: str, before: float | None = None) -> None:
        """Remove state and answer of an earlier job of the same name.

        With ``before``, only what was written before that time, in seconds since the epoch: a
        process that was taken for dead must not remove the answer of its successor.
        """
        # Nobody may see a final state without its answer.
        for suffix in (STATE_SUFFIX, ANSWER_SUFFIX):
            path = self._path(job, suffix)
            with suppress(FileNotFoundError):
                if before is None:
                    os.unlink(path)
                elif os.lstat(path).st_mtime < before:
                    self._remove_older(path, before)

    def remove_state(self, job: str) -> None:
        """Remove the state of a job that was not claimed. If it has an answer, that stays."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(job, STATE_SUFFIX))

    def _remove_older(self, path: str, before: float) -> None:
        # What stands there may be another file by now. Under a name of its own, it can't change.
        name = f"{TEMPORARY_PREFIX}{os.path.basename(path)}-{secrets.token_hex(8)}"
        aside = f"{self._jobs}/{name}"
        os.rename(path, aside)
        if os.lstat(aside).st_mtime >= before:
            with suppress(FileExistsError):
                os.link(aside, path)
        os.unlink(aside)

    def refuse(self, job: str, error: GobblerError) -> None:
        """Write the answer ``error`` for a job, or for a file that was set aside."""
        time = format_time(now())
        action = action_of(split_job(job)[1]) or ""
        answer = job_answer(error.answer(), error.status)
        self.write_answer(JobState(job, action, "", "failed", time, time, time, answer=answer))

    def complete(self, state: JobState) -> None:
        """Make the state of an answered job final; ``state`` if none can be read."""
        answer = self._answer(state.job)
        with suppress(GobblerError):
            state = self._state(state.job)
        if not state.is_final:
            self.write_state(
                msgspec.structs.replace(
                    state, state=final_state(answer), finished=format_time(now())
                )
            )
        flush_directory(self._cur, self._durability)

    def state(self, job: str, *, with_answer: bool = True) -> JobState:
        """The state of a job, with its answer if it has ended and ``with_answer``.

        It tells if there is no worker that could go on with the job. Raises
        :class:`~gobbler.errors.Missing` if there is no such job.
        """
        state = self._present_state(job)
        if not state.is_final:
            return without_worker(state) if self._workers.is_silent() else state
        return msgspec.structs.replace(state, answer=self._answer(job)) if with_answer else state

    def _present_state(self, job: str) -> JobState:
        uid, name = split_job(job)
        try:
            state = self._state(job)
        except Missing:
            # A new request of that name counts before the answer to an earlier one.
            if exists(f"{self._new}/{name}") or not self.has(job):
                return self._in_inbox(job, uid, name)
            state = JobState(job, action_of(name) or "", "", "waiting", "")
        except Fault:
            # A state is not flushed to disk, so a power cut may have damaged it.
            state = JobState(job, action_of(name) or "", "", "waiting", "")
        if not state.is_final and self.has(job):
            # A process that was taken for dead may write a state after its successor's answer.
            state = msgspec.structs.replace(state, state=final_state(self._answer(job)))
        return state

    def _state(self, job: str) -> JobState:
        path = self._path(job, STATE_SUFFIX)
        return decode(read_file(path, path), JobState, path)

    def _answer(self, job: str) -> dict[str, object]:
        path = self._path(job, ANSWER_SUFFIX)
        try:
            return read_answer(decode(read_file(path, path), dict[str, object], path))
        except Missing:
            raise no_such_job(job) from None

    def _in_inbox(self, job: str, uid: int, name: str) -> JobState:
        try:
            status = os.lstat(f"{self._new}/{name}")
        except OSError:
            raise no_such_job(job) from None
        if status.st_uid != uid:
            raise no_such_job(job)
        user = account_name(uid, "the job")
        submitted = format_time(time_at(status.st_ctime))
        address = self._address(name, uid)
        return JobState(job, action_of(name) or "", user, "waiting", submitted, address=address)

    def _address(self, name: str, uid: int) -> str:
        """What a request in the inbox is about; empty if it can't be read."""
        try:
            with closing(enter_directory(self._new)) as new:
                descriptor, status = open_users_file(new, name, "request file", self._new)
            with closing(descriptor):
                if status.st_uid != uid or status.st_size > MAX_REQUEST_BYTES:
                    return ""
                return subject_of(read_all(descriptor, MAX_REQUEST_BYTES)).address
        except (OSError, GobblerError):
            return ""

    def _path(self, job: str, suffix: str) -> str:
        return f"{self._cur}/{job}{suffix}"


def _lines(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=4) + b"\n"
