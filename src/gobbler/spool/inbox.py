"""The inbox: request files that users put into ``staging/..spool/new``, made into jobs.

Everybody can write there, and put anything there at any moment. A file is opened once; its owner
and content come from that descriptor. Its record is drafted, with the inode that was opened.
Then the file is claimed: renamed into a directory that only the service can enter. If another
file was moved instead, it goes back; after a crash, the draft says which file it must be. All of
it happens under the lease of the job of that name.

A file that is no request is set aside in ``cur``, with an answer that gives the reason.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.atomic_write import remove_quietly
from gobbler.fs.authorship import Authorship
from gobbler.fs.lease import Lease
from gobbler.fs.open import READ, account_name, closing, enter_directory, exists, open_users_file
from gobbler.model.jobs import is_valid_request_file, job_name, split_job
from gobbler.rules.fairness import Waiting
from gobbler.spool.job_store import ClaimedFile, JobRecord
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.request_file import EXPIRES_AFTER, check_size, read_content
from gobbler.spool.spool import Spool, check_job_name

logger = logging.getLogger(__name__)


class ClaimedJob(NamedTuple):
    """A job that was claimed from the inbox, and its lease, which the caller releases."""

    job: str
    lease: Lease


class Inbox:
    """The files in ``new`` of one spool; ``replay_guard`` knows the requests over HTTP."""

    def __init__(self, spool: Spool, replay_guard: ReplayGuard, authorship: Authorship) -> None:
        self._spool = spool
        self._replay_guard = replay_guard
        self._authorship = authorship
        self._immovable: dict[str, tuple[int, int]] = {}

    @property
    def replay_guard(self) -> str:
        """The directory of the replay guard."""
        return self._replay_guard.directory

    def arrival(self, name: str) -> Waiting | None:
        """The job that the file ``name`` in ``new`` is to become.

        ``None`` if the file is gone, or can't be moved.
        """
        try:
            status = os.lstat(f"{self._spool.new}/{name}")
        except FileNotFoundError:
            self._immovable.pop(name, None)
            return None
        if self._immovable.get(name) == (status.st_ino, status.st_ctime_ns):
            return None
        return Waiting(_job_of(name, status), status.st_uid, status.st_mtime)

    def immovable(self) -> list[str]:
        """The names of directories in ``new`` that could not be set aside."""
        return list(self._immovable)

    def claim(self, name: str) -> ClaimedJob | None:
        """Make the file ``name`` a job that has a record, and acquire its lease.

        ``None`` if the file is gone, another process works on it, the file was set aside, or a job
        of the same name must end first.
        """
        with closing(enter_directory(self._spool.new)) as new:
            try:
                status = os.stat(name, dir_fd=new, follow_symlinks=False)
            except FileNotFoundError:
                return None
            job = _job_of(name, status)
            lease = self._spool.acquire(job)
            if lease is None:
                return None
            claimed = False
            try:
                claimed = self._try_claim(new, name, job, status)
            finally:
                if not claimed:
                    lease.release()
            return ClaimedJob(job, lease) if claimed else None

    def _try_claim(self, new: int, name: str, job: str, status: os.stat_result) -> bool:
        if self._spool.records.exists(job):
            return False
        try:
            return self._claim(new, name, job, status)
        except GobblerError as error:
            self._set_aside(new, name, job, status, error)
            return False

    def _claim(self, new: int, name: str, job: str, seen: os.stat_result) -> bool:
        check_job_name(name)
        descriptor, status = open_users_file(new, name, "request file", self._spool.new)
        with closing(descriptor):
            if not os.path.samestat(status, seen):
                return False  # it is looked at again
            self._check(name, status)
            path = f"{self._spool.new}/{name}"
            self._authorship.check(descriptor, status, "request file", path)
            data = read_content(name, descriptor)
            user = account_name(status.st_uid, f"request file {quoted(name)}")
            record = JobRecord.of(status.st_uid, user, name, data, status)
            self._remove_former(job, status)
            # The state comes before the claim, so that its owner always finds the job.
            self._spool.answers.write_state(record.state())
            self._spool.records.write_draft(record)
            if not self._move(new, name, self._spool.records.request(job), status):
                self._spool.records.remove_draft(job)
                self._spool.answers.remove_state(job)
                return False
            self._publish(job, status)
            return True

    def _check(self, name: str, status: os.stat_result) -> None:
        check_size(name, status)
        # The move to `new` was the last change of the file; how long it waits here does not
        # matter. An old file to which somebody gave another name must not be carried out again.
        if status.st_ctime - status.st_mtime >= EXPIRES_AFTER or self._replay_guard.knows(status):
            raise Refused(
                f"request file is expired: {quoted(name)} was written a minute or more "
                "before it was moved to `new`, or was carried out already",
                code=Code.EXPIRED_REQUEST,
                hint="Write a new request file and move it at once.",
            )

    def _remove_former(self, job: str, status: os.stat_result) -> None:
        """Remove the answer to an earlier job of the same name, and its cancellation."""
        self._spool.answers.remove(job, before=status.st_ctime)
        mark = self._spool.records.cancel_mark(job)
        with suppress(FileNotFoundError):
            if os.lstat(mark).st_mtime < status.st_ctime:
                remove_quietly(mark)

    def _move(self, new: int, name: str, target: str, status: os.stat_result) -> bool:
        """Move the file with that ``status`` away; whether it was still there.

        If another file has taken its place, that file goes back.
        """
        try:
            os.rename(name, target, src_dir_fd=new)
        except FileNotFoundError:
            return False
        if os.path.samestat(os.lstat(target), status):
            return True
        self._put_back(target, name)
        return False

    def _put_back(self, path: str, name: str) -> None:
        back = f"{self._spool.new}/{name}"
        if exists(back):  # its owner has put yet another one there
            status = os.lstat(path)
            back = f"{self._spool.cur}/{_refused(status)}"
        os.rename(path, back)

    def _publish(self, job: str, status: os.stat_result) -> None:
        self._replay_guard.note(status)
        self._spool.records.publish(job)
        os.rename(self._spool.records.request(job), f"{self._spool.cur}/{job}")

    def complete_claim(self, job: str, claim: ClaimedFile, *, has_record: bool) -> bool:
        """Complete a claim that a crash interrupted; whether the job has a record now.

        The caller holds the lease of the job.
        """
        if has_record:
            os.rename(claim.path, f"{self._spool.cur}/{job}")
            self._spool.records.remove_draft(job)
            return True
        status = os.lstat(claim.path)
        try:
            record = (
                self._reread(job, claim, status)
                if claim.inode
                else self._spool.records.read_draft(job)
            )
        except GobblerError as error:
            self._spool.answers.refuse(job, error)
            os.rename(claim.path, f"{self._spool.cur}/{_refused(status)}")
            return False
        if record is None or not record.is_of(status):
            self._put_back(claim.path, split_job(job)[1])
            self._spool.records.remove_draft(job)
            self._spool.answers.remove_state(job)
            return False
        self._spool.answers.write_state(record.state())
        if claim.inode:
            self._spool.records.write_draft(record)
            os.rename(claim.path, self._spool.records.request(job))
        self._publish(job, status)
        return True

    def _reread(self, job: str, claim: ClaimedFile, seen: os.stat_result) -> JobRecord | None:
        """The record of a file that is named by its inode; ``None`` if it is another one."""
        uid, name = split_job(job)
        if (seen.st_ino, seen.st_mtime_ns, seen.st_uid) != (claim.inode, claim.modified, uid):
            return None
        try:
            descriptor = os.open(claim.path, READ)
        except PermissionError:
            raise Refused(
                f"the service may not read request file {quoted(name)}", code=Code.UNREADABLE
            ) from None
        with closing(descriptor):
            status = os.fstat(descriptor)
            self._authorship.check(descriptor, status, "request file", claim.path)
            data = read_content(name, descriptor)
        user = account_name(uid, f"request file {quoted(name)}")
        return JobRecord.of(uid, user, name, data, status)

    def _set_aside(
        self, new: int, name: str, job: str, status: os.stat_result, error: GobblerError
    ) -> None:
        with suppress(FileNotFoundError):
            # If the file is gone, that may be the error; then there is nothing to answer.
            if not os.path.samestat(os.stat(name, dir_fd=new, follow_symlinks=False), status):
                return
            self._spool.answers.refuse(job, error)
            logger.info(
                "set aside %s of user %d in the inbox: %s", quoted(name), status.st_uid, error
            )
            try:
                self._move(new, name, f"{self._spool.cur}/{_refused(status)}", status)
            except PermissionError as problem:
                self._remove(new, name, status, problem)

    def _remove(self, new: int, name: str, status: os.stat_result, problem: OSError) -> None:
        """Remove a directory of another user, which can't be moved."""
        try:
            os.rmdir(name, dir_fd=new)
        except OSError:
            # It is not empty, so it stays where it is.
            self._immovable[name] = (status.st_ino, status.st_ctime_ns)
            logger.warning("could not set aside %s in the inbox: %s", quoted(name), problem)


def _job_of(name: str, status: os.stat_result) -> str:
    """The job that answers for the file ``name``."""
    # A second name for another user's file must not answer that user's jobs.
    is_doubtful = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    return (
        job_name(status.st_uid, name)
        if is_valid_request_file(name) and not is_doubtful
        else _refused(status)
    )


def _refused(status: os.stat_result) -> str:
    """The name under which a file that is no request is set aside."""
    return job_name(status.st_uid, f"refused-{status.st_ino:x}")
