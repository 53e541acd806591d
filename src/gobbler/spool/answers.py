"""What is told of jobs, and what came of them: ``staging/..spool/cur``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from gobbler.disk.clock import moment, now
from gobbler.disk.flushing import Durability, flush_directory
from gobbler.disk.opening import account_name, is_there, read_file
from gobbler.disk.writing import replace
from gobbler.errors import Fault, GobblerError, Missing
from gobbler.jobs import (
    ANSWER_SUFFIX,
    CUR,
    JOBS,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    JobState,
    ending,
    job_name,
    no_such_job,
    split_job,
)
from gobbler.records import decode, format_time
from gobbler.requests import action_of


class Answers:
    """States and answers of the jobs of one staging directory."""

    def __init__(self, staging: str, durability: Durability) -> None:
        self._durability = durability
        self._new = f"{staging}/{SPOOL}/{NEW}"
        self._cur = f"{staging}/{SPOOL}/{CUR}"
        self._jobs = f"{staging}/{SPOOL}/{JOBS}"

    def tell(self, state: JobState) -> None:
        """Let readers know how far a job is."""
        told = msgspec.structs.replace(state, answer=msgspec.UNSET)
        replace(self._path(state.job, STATE_SUFFIX), _lines(told), flush=False, job=self._jobs)

    def finish(self, state: JobState) -> None:
        """Let readers know what came of a job; on disk when this returns."""
        full = self._durability is Durability.FULL
        path = self._path(state.job, ANSWER_SUFFIX)
        replace(path, _lines(state.answer), flush=full, job=self._jobs)
        self.tell(state)
        flush_directory(self._cur, self._durability)

    def has(self, job: str) -> bool:
        """Whether ``job`` is answered."""
        return is_there(self._path(job, ANSWER_SUFFIX))

    def forget(self, job: str) -> None:
        """Remove what came of an earlier job of the same name."""
        # A state that tells of an answer must not be seen without it.
        for suffix in (STATE_SUFFIX, ANSWER_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(self._path(job, suffix))

    def refuse(self, job: str, error: GobblerError) -> None:
        """Answer a job, or what was set aside as one, that can't be carried out."""
        told = format_time(now())
        action = action_of(split_job(job)[1]) or ""
        answer = {**error.answer(), "code": error.status}
        self.finish(JobState(job, action, "", "failed", told, told, told, answer=answer))

    def complete(self, state: JobState) -> None:
        """Let the state of an answered job tell so; ``state`` if none was told."""
        answer = self._answer(state.job)
        with suppress(GobblerError):
            state = self._told(state.job)
        if not state.is_final:
            self.tell(
                msgspec.structs.replace(state, state=ending(answer), finished=format_time(now()))
            )
        flush_directory(self._cur, self._durability)

    def state(self, job: str) -> JobState:
        """How far a job is, and the answer if it has ended.

        Raises :class:`~gobbler.errors.Missing` if nothing is known of it.
        """
        uid, name = split_job(job)
        try:
            state = self._told(job)
        except Missing:
            return self._in_new(job, uid, name)
        except Fault:
            # It is not flushed as it goes, so a power cut may have damaged it.
            state = JobState(job, action_of(name) or "", "", "waiting", "")
            if self.has(job):
                state = msgspec.structs.replace(state, state=ending(self._answer(job)))
        return msgspec.structs.replace(state, answer=self._answer(job)) if state.is_final else state

    def _told(self, job: str) -> JobState:
        path = self._path(job, STATE_SUFFIX)
        return decode(read_file(path, path), JobState, path)

    def _answer(self, job: str) -> dict[str, object]:
        path = self._path(job, ANSWER_SUFFIX)
        try:
            return decode(read_file(path, path), dict[str, object], path)
        except Missing:
            raise no_such_job(job) from None

    def _in_new(self, job: str, uid: int, name: str) -> JobState:
        try:
            status = os.lstat(f"{self._new}/{name}")
        except OSError:
            raise no_such_job(job) from None
        if status.st_uid != uid:
            raise no_such_job(job)
        user = account_name(uid, "the job")
        return JobState(
            job, action_of(name) or "", user, "waiting", format_time(moment(status.st_ctime))
        )

    def states(self, uid: int | None) -> Iterator[JobState]:
        """The states of the jobs of the user ``uid``, or of everybody's (``None``)."""
        taken = [
            name.removesuffix(STATE_SUFFIX)
            for name in os.listdir(self._cur)
            if name.endswith(STATE_SUFFIX)
        ]
        waiting = []
        with os.scandir(self._new) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # taken meanwhile
                    owner = entry.stat(follow_symlinks=False).st_uid
                    waiting.append(job_name(owner, entry.name))
        for job in sorted({*taken, *waiting}):
            if uid is None or job.startswith(f"{uid}-"):
                with suppress(GobblerError):  # it went meanwhile, or is no job at all
                    yield self.state(job)

    def _path(self, job: str, suffix: str) -> str:
        return f"{self._cur}/{job}{suffix}"


def _lines(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=4) + b"\n"
