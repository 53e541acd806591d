"""The spool of a staging directory: jobs that are accepted, held, ended, cancelled.

The record of a job (see :mod:`gobbler.spool.job_store`) goes only after the answer has been
written, so no job is lost; where both are found, the job had been answered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from gobbler.errors import Code, Forbidden, GobblerError, Refused, quoted
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, remove_quietly
from gobbler.fs.clock import CLOCK
from gobbler.fs.flush import Durability
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.fs.open import exists
from gobbler.model.jobs import (
    ANSWER_SUFFIX,
    CUR,
    JOBS,
    MAX_JOB_NAME_BYTES,
    NEW,
    SPOOL,
    STATE_SUFFIX,
    TMP,
    is_valid_request_file,
    split_job,
)
from gobbler.model.requests import check_request_name
from gobbler.rules.fairness import Waiting
from gobbler.spool.job_store import (
    CANCEL_SUFFIX,
    LOCK_SUFFIX,
    TEMPORARY,
    Answers,
    Record,
    Records,
    in_progress,
)


class Look(NamedTuple):
    """What was seen: jobs that nobody is at, and how many of each user somebody is at.

    ``known``: the names of all jobs. ``cancelled``: of those that are wanted no more.
    """

    free: list[Waiting]
    running: dict[int, int]
    known: set[str]
    cancelled: set[str]


class Spool:
    """The spool below ``staging``, as the service's account sees it."""

    def __init__(self, staging: str, durability: Durability) -> None:
        self.tmp = f"{staging}/{SPOOL}/{TMP}"
        self.new = f"{staging}/{SPOOL}/{NEW}"
        self.cur = f"{staging}/{SPOOL}/{CUR}"
        self.records = Records(f"{staging}/{SPOOL}/{JOBS}", durability)
        self.answers = Answers(staging, durability)

    def accept(self, record: Record) -> None:
        """Keep a request until it is carried out; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` while a job of that name is unanswered.
        """
        check_job_name(record.name)
        lease = self.hold(record.job)
        if lease is None:
            raise in_progress(record.name)
        try:
            if self.records.of(record.job) is not None:
                raise in_progress(record.name)
            self.answers.forget(record.job)
            remove_quietly(self.records.cancel_mark(record.job))  # that was for another
            try:
                self.answers.tell(record.state())
                self.records.write(record)
            except BaseException:
                self.answers.forget(record.job)
                raise
        finally:
            lease.release()

    def look(self) -> Look:
        """See what there is to do."""
        free: list[Waiting] = []
        running: dict[int, int] = {}
        unanswered = self.records.all()
        for job, known in unanswered.items():
            uid, _ = split_job(job)
            if known.is_held and not self._is_given_up(job):
                running[uid] = running.get(uid, 0) + 1
            else:
                free.append(Waiting(job, uid, known.since))
        return Look(free, running, set(unanswered), self.records.cancelled())

    def _is_given_up(self, job: str) -> bool:
        lease = take_over(self.records.lock(job))
        if lease is None:
            return not exists(self.records.lock(job))
        lease.close()
        return True

    def hold(self, job: str) -> Lease | None:
        """Be the one who is at ``job``; ``None`` if somebody else is."""
        path = self.records.lock(job)
        try:
            return acquire(path)
        except FileExistsError:
            lease = take_over(path)
            if lease is not None:
                lease.write_holder()
            return lease

    def begin(self, job: str, attempts: int) -> Record | None:
        """Begin a job that was ``attempts`` so often before; ``None`` if somebody else did.

        The caller holds it. One whose record is damaged is answered so.
        """
        try:
            return self.records.begin(job, attempts)
        except GobblerError as error:
            self.answers.refuse(job, error)
            self.tidy_away(job, attempts + 1)
            return None

    def tidy_away(self, job: str, attempts: int) -> None:
        """Remove what is left of a job that has been answered. The caller holds it."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.cur}/{job}")
        self.records.remove(job, attempts)

    def cancel(self, job: str, uid: int | None) -> None:
        """Have a job given up; ``uid`` is its owner's (``None``: anybody's).

        Raises :class:`~gobbler.errors.GobblerError` if it is another's, or has ended.
        """
        owner, name = split_job(job)
        if uid is not None and owner != uid:
            raise Forbidden(f"job {quoted(job)} belongs to another user", code=Code.FOREIGN_JOB)
        if self.answers.state(job).is_final:
            raise _has_ended(job)
        mark = self.records.cancel_mark(job)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(mark, flags, PRIVATE_FILE_MODE))
        # It may have ended meanwhile; the mark must not wait for the next of its name.
        if self.records.of(job) is None and not exists(f"{self.new}/{name}"):
            remove_quietly(mark)
            raise _has_ended(job)

    def sweep(self, limit: float) -> None:
        """Remove what workers that died have left besides jobs.

        What they were writing goes if it is older than ``limit`` (seconds since the epoch).
        """
        unanswered = self.records.all()
        for name in os.listdir(self.records.directory):
            path = f"{self.records.directory}/{name}"
            with suppress(FileNotFoundError):
                if name.startswith((TEMPORARY, CLOCK)):
                    if os.lstat(path).st_mtime < limit:
                        os.unlink(path)
                elif name.endswith(LOCK_SUFFIX):
                    if name.removesuffix(LOCK_SUFFIX) not in unanswered:
                        _remove_if_given_up(path)
                elif name.endswith(CANCEL_SUFFIX):
                    job = name.removesuffix(CANCEL_SUFFIX)
                    waits = job in unanswered or exists(f"{self.new}/{split_job(job)[1]}")
                    if not waits and os.lstat(path).st_mtime < limit:
                        os.unlink(path)


def _remove_if_given_up(path: str) -> None:
    lease = take_over(path)
    if lease is not None:
        lease.release()


def check_job_name(name: str) -> None:
    """Refuse what can't be the name of a request file in the spool."""
    check_request_name(name)
    if not is_valid_request_file(name):
        raise Refused(
            f"the name of the request file {quoted(name)} is longer than "
            f"{MAX_JOB_NAME_BYTES} bytes or ends with {STATE_SUFFIX} or {ANSWER_SUFFIX}",
            code=Code.INVALID_NAME,
        )


def _has_ended(job: str) -> Refused:
    return Refused(f"job {quoted(job)} has ended already", code=Code.JOB_ENDED)
