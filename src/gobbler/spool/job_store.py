"""The jobs that are not answered yet: ``staging/..spool/jobs``, the service's own.

::

    {job}.{n}.job                   its record, begun n times
    {job}.{inode}-{time}.claimed    a request file that has no record yet
    {job}.lock                      the presence of whoever is at it
    {job}.cancel                    its owner wants it no more

**A job is begun by a rename**, of its record from ``n`` to ``n + 1``: of several who try, one
succeeds, also where locks succeed for everybody. The presence tells whether whoever began
it lives; when not, the next one begins it again, as the same *task* (see
:mod:`gobbler.registry.workspace`), so that its change is made once.


What is told of jobs, and what came of them: ``staging/..spool/cur``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from gobbler.errors import Code, Fault, GobblerError, Missing, Refused, quoted
from gobbler.fs.atomic_write import remove_quietly, replace, write_new
from gobbler.fs.clock import now, time_at
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.open import account_name, exists, read_file
from gobbler.model.jobs import (
    ANSWER_SUFFIX,
    CUR,
    JOBS,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    JobState,
    final_state,
    job_answer,
    job_name,
    no_such_job,
    read_answer,
    split_job,
)
from gobbler.model.records import decode, format_time
from gobbler.model.requests import action_of
from gobbler.registry.workspace import new_workspace_name

LOCK_SUFFIX = ".lock"
CANCEL_SUFFIX = ".cancel"

TEMPORARY = "..tmp-"
"""Begins the names of files that are still being written."""

_RECORD = re.compile(r"((?:0|[1-9][0-9]*)-.+)\.([0-9]+)\.job", re.DOTALL)
_CLAIMED = re.compile(r"((?:0|[1-9][0-9]*)-.+)\.([0-9a-f]+)-([0-9a-f]+)\.claimed", re.DOTALL)


class Record(Struct, frozen=True):
    """A request that was taken: by whom, and all that it says."""

    job: str
    workspace: str = field(name="task")
    uid: int
    user: str
    name: str
    data: bytes
    submitted: str

    @classmethod
    def of(cls, uid: int, user: str, name: str, data: bytes) -> Record:
        """A record made now."""
        return cls(
            job_name(uid, name), new_workspace_name(), uid, user, name, data, format_time(now())
        )

    def state(self) -> JobState:
        """The state of the job before it is begun."""
        action = action_of(self.name) or ""
        return JobState(self.job, action, self.user, "waiting", self.submitted)


class Claimed(NamedTuple):
    """A request file without a record, or beside it: which file it must be."""

    path: str
    inode: int
    modified: int


class Unanswered(NamedTuple):
    """What there is of one job: ``attempts`` so often (``None``: no record yet).

    ``is_held``: somebody is, or was, at it. ``since``: seconds since the epoch.
    """

    attempts: int | None = None
    claimed: Claimed | None = None
    is_held: bool = False
    since: float = 0.0


class Records:
    """The files in ``directory``."""

    def __init__(self, directory: str, durability: Durability) -> None:
        self._durability = durability
        self.directory = directory

    def lock(self, job: str) -> str:
        """The path of the presence of whoever is at ``job``."""
        return f"{self.directory}/{job}{LOCK_SUFFIX}"

    def cancel_mark(self, job: str) -> str:
        """The path of the mark that ``job`` is wanted no more."""
        return f"{self.directory}/{job}{CANCEL_SUFFIX}"

    def claimed_path(self, job: str, status: os.stat_result) -> str:
        """The path of the request file of ``job`` before there is a record of it."""
        return f"{self.directory}/{job}.{status.st_ino:x}-{status.st_mtime_ns:x}.claimed"

    def write(self, record: Record) -> None:
        """Make the record of a job that has none; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` if it has one.
        """
        beside = f"{self.directory}/{TEMPORARY}{record.workspace}"
        try:
            write_new(beside, msgspec.json.encode(record))
            if self._durability is Durability.FULL:
                _flush_file(beside)
            os.link(beside, self._path(record.job, 0))
        except FileExistsError:
            raise in_progress(record.name) from None
        finally:
            remove_quietly(beside)
        try:
            flush_directory(self.directory, self._durability)
        except OSError:
            os.unlink(self._path(record.job, 0))  # whoever asked is told that it failed
            raise

    def begin(self, job: str, attempts: int) -> Record | None:
        """Begin a job that was ``attempts`` so often before; ``None`` if somebody else did.

        The caller holds it. Raises :class:`~gobbler.errors.GobblerError` if it is damaged.
        """
        path = self._path(job, attempts + 1)
        try:
            os.rename(self._path(job, attempts), path)
        except FileNotFoundError:
            return None
        return decode(read_file(path, path), Record, path)

    def give_back(self, job: str, attempts: int) -> None:
        """Let a job be begun again as if it had not been. The caller holds it."""
        os.rename(self._path(job, attempts), self._path(job, attempts - 1))

    def remove(self, job: str, attempts: int) -> None:
        """Forget a job that is answered. The caller holds it."""
        for path in (self._path(job, attempts), self.cancel_mark(job)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def is_cancelled(self, job: str) -> bool:
        """Whether its owner wants a job no more."""
        return exists(self.cancel_mark(job))

    def cancelled(self) -> set[str]:
        """The jobs that their owners want no more, be they taken already or not."""
        names = os.listdir(self.directory)
        return {n.removesuffix(CANCEL_SUFFIX) for n in names if n.endswith(CANCEL_SUFFIX)}

    def of(self, job: str) -> Unanswered | None:
        """What there is of ``job``, if it is unanswered."""
        names = [name for name in os.listdir(self.directory) if name.startswith(f"{job}.")]
        return _gathered(names, self.directory).get(job)

    def all(self) -> dict[str, Unanswered]:
        """All that is under way or waits to be begun (again), by the name of the job."""
        return _gathered(os.listdir(self.directory), self.directory)

    def _path(self, job: str, attempts: int) -> str:
        return f"{self.directory}/{job}.{attempts}.job"


def _gathered(names: list[str], directory: str) -> dict[str, Unanswered]:
    found: dict[str, Unanswered] = {}
    others = set(names)
    for name in names:
        path = f"{directory}/{name}"
        record, claimed = _RECORD.fullmatch(name), _CLAIMED.fullmatch(name)
        match = record or claimed
        if match is None:
            continue
        with suppress(FileNotFoundError):  # answered meanwhile
            known = found.get(match[1], Unanswered())._replace(since=os.lstat(path).st_mtime)
            if record:
                found[match[1]] = known._replace(attempts=int(record[2]))
            elif claimed:
                file = Claimed(path, int(claimed[2], 16), int(claimed[3], 16))
                found[match[1]] = known._replace(claimed=file)
    return {
        job: known._replace(is_held=job + LOCK_SUFFIX in others) for job, known in found.items()
    }


def in_progress(name: str) -> Refused:
    """The error for a request file whose name is that of an unanswered job."""
    return Refused(
        f"path is already being processed: {quoted(name)}",
        code=Code.REPEATED_REQUEST,
        hint="Its job has not been answered yet; give another request another name.",
    )


def _flush_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        replace(
            self._path(state.job, STATE_SUFFIX), _lines(told), flush=False, workspace=self._jobs
        )

    def finish(self, state: JobState) -> None:
        """Let readers know what came of a job; on disk when this returns."""
        full = self._durability is Durability.FULL
        path = self._path(state.job, ANSWER_SUFFIX)
        replace(path, _lines(state.answer), flush=full, workspace=self._jobs)
        self.tell(state)
        flush_directory(self._cur, self._durability)

    def has(self, job: str) -> bool:
        """Whether ``job`` is answered."""
        return exists(self._path(job, ANSWER_SUFFIX))

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
        answer = job_answer(error.answer(), error.status)
        self.finish(JobState(job, action, "", "failed", told, told, told, answer=answer))

    def complete(self, state: JobState) -> None:
        """Let the state of an answered job tell so; ``state`` if none was told."""
        answer = self._answer(state.job)
        with suppress(GobblerError):
            state = self._told(state.job)
        if not state.is_final:
            self.tell(
                msgspec.structs.replace(
                    state, state=final_state(answer), finished=format_time(now())
                )
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
                state = msgspec.structs.replace(state, state=final_state(self._answer(job)))
        return msgspec.structs.replace(state, answer=self._answer(job)) if state.is_final else state

    def _told(self, job: str) -> JobState:
        path = self._path(job, STATE_SUFFIX)
        return decode(read_file(path, path), JobState, path)

    def _answer(self, job: str) -> dict[str, object]:
        path = self._path(job, ANSWER_SUFFIX)
        try:
            return read_answer(decode(read_file(path, path), dict[str, object], path))
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
            job, action_of(name) or "", user, "waiting", format_time(time_at(status.st_ctime))
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
