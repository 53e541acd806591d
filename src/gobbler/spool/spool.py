"""The spool of a staging directory: jobs are accepted, begun, cancelled and removed.

The record of a job (see :mod:`gobbler.spool.job_store`) is removed only after the answer was
written, so no job is lost. Where both are found, the job is answered.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from gobbler.errors import Code, Forbidden, GobblerError, Refused, quoted
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, remove_quietly
from gobbler.fs.clock import CLOCK
from gobbler.fs.flush import Durability
from gobbler.fs.layout import (
    REQUESTS,
    check_own,
    make_directory,
    staging_directories,
    staging_reserve,
)
from gobbler.fs.lease import Lease, acquire, is_locked, take_over
from gobbler.fs.open import exists
from gobbler.fs.reserve import Reserve, with_reserve
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
from gobbler.model.requests import RELIEVING, action_of, check_request_name
from gobbler.spool.job_answers import JobAnswers
from gobbler.spool.job_store import (
    CANCEL_SUFFIX,
    LOCK_SUFFIX,
    RECORD_DRAFT_SUFFIX,
    TEMPORARY_PREFIX,
    JobRecord,
    JobRecords,
    PendingJob,
    in_progress,
    next_attempt,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)


LOOK_SECONDS = 5.0
LOOK_PAUSE = 0.005
"""Seconds to wait for a process that looks at a lease, and between two attempts."""


class Spool:
    """The spool below ``staging``, as the service's account sees it."""

    def __init__(self, staging: str, durability: Durability) -> None:
        self._reserve = Reserve(staging_reserve(staging))
        self.tmp = f"{staging}/{SPOOL}/{TMP}"
        self.new = f"{staging}/{SPOOL}/{NEW}"
        self.cur = f"{staging}/{SPOOL}/{CUR}"
        self.directories = [
            directory
            for directory in staging_directories(staging)
            if os.path.basename(directory.path) != REQUESTS
        ]
        self._jobs = [one for one in self.directories if one.path == f"{staging}/{SPOOL}/{JOBS}"]
        self.records = JobRecords(f"{staging}/{SPOOL}/{JOBS}", durability)
        self.answers = JobAnswers(staging, durability)

    def accept(self, record: JobRecord) -> None:
        """Make a request a job; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` while a job of that name is unanswered.
        """
        check_job_name(record.name)
        try:
            self.drawing_on_reserve(record.name, lambda: self._accept(record))
        except FileNotFoundError:  # something has removed the spool
            self.restore()
            self._accept(record)

    def drawing_on_reserve(self, name: str, step: Callable[[], T]) -> T:
        """Call ``step`` for the request file ``name``, which changes nothing if it fails.

        If the request may relieve a full disk, the step has the space of the reserve.
        """
        return with_reserve([self._reserve] if action_of(name) in RELIEVING else [], step)

    def restore(self) -> None:
        """Make the directories of the spool anew, where they are missing.

        Raises :class:`~gobbler.errors.Fault` if one of them is somebody else's.
        """
        for path, mode in self.directories:
            if make_directory(path, mode):
                logger.warning("made %s anew: something has removed it", path)
        check_own(self.directories)

    def _accept(self, record: JobRecord) -> None:
        lease = self._acquire_new(record)
        try:
            if self.records.exists(record.job):
                raise in_progress(record.name)
            self.answers.remove(record.job)
            remove_quietly(self.records.cancel_mark(record.job))  # it was for an earlier job
            try:
                self.answers.write_state(record.state())
                self.records.write(record)
            except BaseException:
                self.answers.remove(record.job)
                raise
        finally:
            lease.release()

    def _acquire_new(self, record: JobRecord) -> Lease:
        """Acquire the lease of a job that has no record yet."""
        deadline = time.monotonic() + LOOK_SECONDS
        while (lease := self.acquire(record.job)) is None:
            # A process that looks whether the job is abandoned has its lock for a moment.
            if self.records.exists(record.job) or time.monotonic() > deadline:
                raise in_progress(record.name)
            time.sleep(LOOK_PAUSE)
        return lease

    def is_abandoned(self, job: str) -> bool:
        """Whether the process that held the lease of ``job`` has died, or has just released it."""
        path = self.records.lock(job)
        if is_locked(path):
            return False
        lease = take_over(path)
        if lease is None:
            return not exists(path)
        lease.close()
        return True

    def acquire(self, job: str) -> Lease | None:
        """Acquire the lease of ``job``; ``None`` if a living process holds it."""
        path = self.records.lock(job)
        try:
            return acquire(path)
        except FileExistsError:
            lease = take_over(path)
            if lease is not None:
                lease.write_holder()
            return lease

    def begin(self, job: str, attempts: int) -> JobRecord | None:
        """Begin a job that has begun ``attempts`` times; ``None`` if another process did.

        The caller holds its lease. Answers a job with a damaged record with that error. Raises
        :class:`~gobbler.errors.Fault` if somebody has put other directories in place of the spool.
        """
        check_own(self._jobs)  # since the last look, a user may have moved them
        try:
            return self.records.begin(job, attempts)
        except GobblerError as error:
            self.answers.refuse(job, error)
            self.remove(job, next_attempt(attempts))
            return None

    def regain(self, record: JobRecord, attempts: int) -> Lease | None:
        """Acquire the lease of a running job again, and write its record, if both were removed.

        ``None`` if another process has acquired it.
        """
        lease = self.acquire(record.job)
        if lease is not None and not self.records.exists(record.job):
            self.records.rewrite(record, attempts)
        return lease

    def remove(self, job: str, attempts: int) -> None:
        """Remove what is left of a job that is answered. The caller holds its lease."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.cur}/{job}")
        self.records.remove(job, attempts)

    def cancel(self, job: str, uid: int | None) -> None:
        """Cancel a job of the user ``uid``, or of any user (``None``).

        Raises :class:`~gobbler.errors.GobblerError` if it belongs to another user, or has ended.
        """
        owner, name = split_job(job)
        if uid is not None and owner != uid:
            raise Forbidden(f"job {quoted(job)} belongs to another user", code=Code.FOREIGN_JOB)
        if self.answers.state(job).is_final:
            raise _has_ended(job)
        mark = self.records.cancel_mark(job)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(mark, flags, PRIVATE_FILE_MODE))
        # It may have ended meanwhile; the mark must not wait for the next job of its name.
        if not self.records.exists(job) and not exists(f"{self.new}/{name}"):
            remove_quietly(mark)
            raise _has_ended(job)

    def recover(self, limit: float) -> None:
        """Remove what processes that died have left beside jobs.

        Removes unfinished files if they are older than ``limit``, in seconds since the epoch.
        """
        jobs = self.records.pending()
        for name in os.listdir(self.records.directory):
            path = f"{self.records.directory}/{name}"
            with suppress(FileNotFoundError):
                if name.endswith(LOCK_SUFFIX):
                    if name.removesuffix(LOCK_SUFFIX) not in jobs:
                        _remove_if_abandoned(path)
                elif self._is_left_over(name, jobs) and os.lstat(path).st_mtime < limit:
                    os.unlink(path)

    def _is_left_over(self, name: str, jobs: dict[str, PendingJob]) -> bool:
        if name.startswith((TEMPORARY_PREFIX, CLOCK)):
            return True
        if name.endswith(RECORD_DRAFT_SUFFIX):
            job = jobs.get(name.removesuffix(RECORD_DRAFT_SUFFIX))
            return job is None or job.claim is None
        if name.endswith(CANCEL_SUFFIX):
            job_name = name.removesuffix(CANCEL_SUFFIX)
            return job_name not in jobs and not exists(f"{self.new}/{split_job(job_name)[1]}")
        return False


def _remove_if_abandoned(path: str) -> None:
    lease = take_over(path)
    if lease is not None:
        lease.release()


def check_job_name(name: str) -> None:
    """Refuse what can't be the name of a request file in the spool."""
    check_request_name(name)
    if not is_valid_request_file(name):
        raise Refused(
            f"the name of the request file {quoted(name)} is longer than "
            f"{MAX_JOB_NAME_BYTES} bytes "
            f"or ends with {STATE_SUFFIX} or {ANSWER_SUFFIX}",
            code=Code.INVALID_NAME,
        )


def _has_ended(job: str) -> Refused:
    return Refused(f"job {quoted(job)} has ended already", code=Code.JOB_ENDED)
