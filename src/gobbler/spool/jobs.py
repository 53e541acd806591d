"""The jobs of a staging directory that are not answered yet, and the answers.

::

    staging/..spool/jobs/
        {job}.{n}.job                   its record, begun n times
        {job}.{inode}-{time}.claimed    a request file that has no record yet
        {job}.lock                      the presence of whoever is at it
        {job}.cancel                    its owner wants it no more

**A job is begun by a rename**, of its record from ``n`` to ``n + 1``: of several who try, one
succeeds, also where locks succeed for everybody. The presence tells whether whoever began
it lives; when not, the next one begins it again, as the same *task* (see
:mod:`gobbler.disk.incoming`), so that its change is made once.

The record goes only after the answer has been written, so no job is lost; where both are
found, the job had been answered.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct

from gobbler.disk.clock import now
from gobbler.disk.flushing import Durability, flush_directory
from gobbler.disk.incoming import new_task
from gobbler.disk.opening import is_there, read_file
from gobbler.disk.presence import Presence, appear, inherit
from gobbler.disk.writing import PRIVATE_FILE_MODE, remove_quietly, write_new
from gobbler.errors import Forbidden, Refused, quoted
from gobbler.jobs import (
    ANSWER_SUFFIX,
    CUR,
    JOBS,
    MAX_NAME_BYTES,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    TMP,
    JobState,
    job_name,
    split_job,
)
from gobbler.names import file_name_problem
from gobbler.records import decode, format_time
from gobbler.requests import action_of, check_request_name
from gobbler.rules.fairness import Waiting
from gobbler.spool.answers import Answers

LOCK_SUFFIX = ".lock"
CANCEL_SUFFIX = ".cancel"

_RECORD = re.compile(r"(.+)\.(\d+)\.job", re.DOTALL)
_CLAIMED = re.compile(r"(.+)\.([0-9a-f]+)-([0-9a-f]+)\.claimed", re.DOTALL)


class Record(Struct, frozen=True):
    """A request that was taken: by whom, and all that it says."""

    job: str
    task: str
    uid: int
    user: str
    name: str
    data: bytes
    submitted: str

    @classmethod
    def of(cls, uid: int, user: str, name: str, data: bytes) -> Record:
        """A record made now."""
        return cls(job_name(uid, name), new_task(), uid, user, name, data, format_time(now()))

    def state(self) -> JobState:
        """The state of the job before it is begun."""
        action = action_of(self.name) or ""
        return JobState(self.job, action, self.user, "waiting", self.submitted)


class Claimed(NamedTuple):
    """A request file in ``jobs`` without a record: which file it must be."""

    path: str
    inode: int
    modified: int


class Unanswered(NamedTuple):
    """What stands in ``jobs`` of one job: ``begun`` so often (``None``: no record yet)."""

    begun: int | None
    claimed: Claimed | None
    is_held: bool
    since: float


class Spool:
    """The spool below ``staging``, as the service's account sees it."""

    def __init__(self, staging: str, durability: Durability) -> None:
        self._durability = durability
        self.tmp = f"{staging}/{SPOOL}/{TMP}"
        self.new = f"{staging}/{SPOOL}/{NEW}"
        self.cur = f"{staging}/{SPOOL}/{CUR}"
        self.jobs = f"{staging}/{SPOOL}/{JOBS}"
        self.answers = Answers(staging, durability)

    def accept(self, record: Record) -> None:
        """Keep a request until it is carried out; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` while a job of that name is unanswered.
        """
        check_job_name(record.name)
        if record.job in self.unanswered():
            raise _in_progress(record.name)
        self.answers.forget(record.job)
        self.write_record(record)
        self.answers.tell(record.state())

    def write_record(self, record: Record) -> None:
        """Make the record of a job that has none."""
        beside = f"{self.jobs}/..{record.task}"
        write_new(beside, msgspec.json.encode(record))
        try:
            if self._durability is Durability.FULL:
                _flush_file(beside)
            os.link(beside, self._record(record.job, 0))
        except FileExistsError:
            raise _in_progress(record.name) from None
        finally:
            os.unlink(beside)
        flush_directory(self.jobs, self._durability)

    def unanswered(self) -> dict[str, Unanswered]:
        """All that is under way or waits to be begun (again), by the name of the job."""
        found: dict[str, Unanswered] = {}
        held: set[str] = set()
        with os.scandir(self.jobs) as entries:
            for entry in entries:
                begun, claimed = None, None
                if record := _RECORD.fullmatch(entry.name):
                    job, begun = record[1], int(record[2])
                elif waiting := _CLAIMED.fullmatch(entry.name):
                    job = waiting[1]
                    claimed = Claimed(entry.path, int(waiting[2], 16), int(waiting[3], 16))
                else:
                    if entry.name.endswith(LOCK_SUFFIX):
                        held.add(entry.name.removesuffix(LOCK_SUFFIX))
                    continue
                with suppress(FileNotFoundError):  # answered meanwhile
                    since = entry.stat(follow_symlinks=False).st_mtime
                    former = found.get(job, Unanswered(None, None, is_held=False, since=since))
                    found[job] = Unanswered(
                        former.begun if begun is None else begun,
                        former.claimed or claimed,
                        is_held=False,
                        since=min(since, former.since),
                    )
        return {job: known._replace(is_held=job in held) for job, known in found.items()}

    def waiting(self) -> tuple[list[Waiting], dict[int, int], set[str]]:
        """The jobs that nobody is at, how many of each user's somebody is at, and all of them."""
        free: list[Waiting] = []
        running: dict[int, int] = {}
        unanswered = self.unanswered()
        for job, known in unanswered.items():
            uid, _ = split_job(job)
            if known.is_held and not self._is_given_up(job):
                running[uid] = running.get(uid, 0) + 1
            else:
                free.append(Waiting(job, uid, known.since))
        return free, running, set(unanswered)

    def _is_given_up(self, job: str) -> bool:
        presence = inherit(self.lock(job))
        if presence is None:
            return not is_there(self.lock(job))
        presence.close()
        return True

    def hold(self, job: str) -> Presence | None:
        """Be the one who is at ``job``; ``None`` if somebody else is."""
        try:
            return appear(self.lock(job))
        except FileExistsError:
            presence = inherit(self.lock(job))
            if presence is not None:
                presence.assume()
            return presence

    def begin(self, job: str, begun: int) -> Record | None:
        """Begin a job that was ``begun`` so often before; ``None`` if somebody else did.

        The caller holds it. A job that turns out to be answered is tidied away.
        """
        path = self._record(job, begun + 1)
        try:
            os.rename(self._record(job, begun), path)
        except FileNotFoundError:
            return None
        record = decode(read_file(path, path), Record, path)
        if self.answers.has(job):
            self._tidy_away(job, begun + 1)
            return None
        return record

    def give_back(self, job: str, begun: int) -> None:
        """Let a job be begun again as if it had not been. The caller holds it."""
        os.rename(self._record(job, begun), self._record(job, begun - 1))

    def finish(self, state: JobState, begun: int) -> None:
        """Write the answer of a job, which ends it. The caller holds it."""
        self.answers.finish(state)
        self._tidy_away(state.job, begun)

    def _tidy_away(self, job: str, begun: int) -> None:
        for path in (
            self._record(job, begun),
            f"{self.jobs}/{job}{CANCEL_SUFFIX}",
            f"{self.cur}/{job}",
        ):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def cancel(self, job: str, uid: int | None) -> None:
        """Have a job given up; ``uid`` is its owner's (``None``: anybody's).

        Raises :class:`~gobbler.errors.GobblerError` if it is another's, or has ended.
        """
        owner, name = split_job(job)
        if uid is not None and owner != uid:
            raise Forbidden(f"job {quoted(job)} is another user's")
        if self.answers.state(job).is_final:
            raise _has_ended(job)
        mark = f"{self.jobs}/{job}{CANCEL_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(mark, flags, PRIVATE_FILE_MODE))
        # It may have ended meanwhile; the mark must not wait for the next of its name.
        if job not in self.unanswered() and not is_there(f"{self.new}/{name}"):
            remove_quietly(mark)
            raise _has_ended(job)

    def is_cancelled(self, job: str) -> bool:
        """Whether its owner wants a job no more."""
        return is_there(f"{self.jobs}/{job}{CANCEL_SUFFIX}")

    def tidy(self, limit: float) -> None:
        """Remove what is older than ``limit`` (seconds since the epoch) and belongs to no job."""
        unanswered = self.unanswered()
        for name in os.listdir(self.jobs):
            path = f"{self.jobs}/{name}"
            with suppress(FileNotFoundError):
                if (
                    not _RECORD.fullmatch(name)
                    and not _CLAIMED.fullmatch(name)
                    and name.rpartition(".")[0] not in unanswered
                    and os.lstat(path).st_mtime < limit
                ):
                    os.unlink(path)

    def lock(self, job: str) -> str:
        """The path of the presence of whoever is at ``job``."""
        return f"{self.jobs}/{job}{LOCK_SUFFIX}"

    def claimed_path(self, job: str, status: os.stat_result) -> str:
        """The path of the request file of ``job`` before there is a record of it."""
        return f"{self.jobs}/{job}.{status.st_ino:x}-{status.st_mtime_ns:x}.claimed"

    def _record(self, job: str, begun: int) -> str:
        return f"{self.jobs}/{job}.{begun}.job"


def check_job_name(name: str) -> None:
    """Refuse what can't be the name of a request file in the spool."""
    check_request_name(name)
    if not is_fit(name):
        raise Refused(
            f"the name of the request file {quoted(name)} is longer than {MAX_NAME_BYTES} bytes "
            f"or ends with {STATE_SUFFIX} or {ANSWER_SUFFIX}"
        )


def is_fit(name: str) -> bool:
    """Whether an answer can be found by ``name``, be it that of a request file or not."""
    return (
        file_name_problem(name) is None
        and len(name.encode()) <= MAX_NAME_BYTES
        and not name.endswith((STATE_SUFFIX, ANSWER_SUFFIX))
    )


def _has_ended(job: str) -> Refused:
    return Refused(f"job {quoted(job)} has ended already")


def _in_progress(name: str) -> Refused:
    return Refused(
        f"path is already being processed: {quoted(name)}",
        hint="Its job has not been answered yet; give another request another name.",
    )


def _flush_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
