"""Request files that users have put into ``staging/..spool/new``, made into jobs.

Everybody can write there, and put anything there at any moment. A file is opened once,
and whose it is and what it says is read from that descriptor; it is claimed by renaming it
into a directory that only the service can enter, under a name that tells which file was
opened, so that whoever goes on after a crash takes no other one. What is no request is set
aside in ``cur``, with an answer that says why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress

from gobbler.disk.clock import now
from gobbler.disk.opening import (
    READ,
    account_name,
    closing,
    open_directory,
    open_users_file,
    read_all,
)
from gobbler.errors import GobblerError, Refused, quoted
from gobbler.jobs import JobState, job_name, split_job
from gobbler.records import format_time
from gobbler.requests import MAX_REQUEST_BYTES, action_of
from gobbler.rules.fairness import Waiting
from gobbler.spool.begun import Begun
from gobbler.spool.jobs import Claimed, Record, Spool, check_job_name, is_fit

EXPIRES_AFTER = 60.0
"""Seconds between the last change of a request file and its move into the spool."""

logger = logging.getLogger(__name__)


class Arrivals:
    """The files in ``new`` of one spool. ``begun`` knows what was asked over HTTP."""

    def __init__(self, spool: Spool, begun: Begun) -> None:
        self._spool = spool
        self._begun = begun
        self._immovable: set[tuple[int, int]] = set()

    def waiting(self, *, besides: Collection[str]) -> dict[str, Waiting]:
        """What waits in ``new``, by the name of the file, ``besides`` the jobs of these names."""
        found = {}
        with os.scandir(self._spool.new) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    job = job_name(status.st_uid, entry.name)
                    is_known = (status.st_ino, status.st_ctime_ns) in self._immovable
                    if job not in besides and not is_known:
                        found[entry.name] = Waiting(job, status.st_uid, status.st_mtime)
        return found

    def claim(self, name: str) -> str | None:
        """Make the file ``name`` a job, and answer the job's name.

        ``None`` if it is gone, another process took it, or it was set aside; or if a job of
        the same name must end first.
        """
        with closing(open_directory(self._spool.new)) as new:
            try:
                status = os.stat(name, dir_fd=new, follow_symlinks=False)
            except FileNotFoundError:
                return None
            try:
                return self._claim(new, name)
            except GobblerError as error:
                self._set_aside(new, name, status, error)
                return None

    def _claim(self, new: int, name: str) -> str | None:
        check_job_name(name)
        descriptor, status = open_users_file(new, name, "request file")
        with closing(descriptor):
            self._check(name, status)
            data = read_all(descriptor, MAX_REQUEST_BYTES)
            if len(data) > MAX_REQUEST_BYTES:
                raise _too_large(name)
            user = account_name(status.st_uid, f"request file {quoted(name)}")
            job = job_name(status.st_uid, name)
            presence = self._spool.hold(job)
            if presence is None:
                return None
            try:
                if job in self._spool.unanswered():
                    return None
                record = Record.of(status.st_uid, user, name, data)
                self._spool.answers.forget(job)
                # Told before it goes from `new`, so that at no moment nobody knows of it.
                self._spool.answers.tell(record.state())
                claimed = self._spool.claimed_path(job, status)
                try:
                    os.rename(name, claimed, src_dir_fd=new)
                except FileNotFoundError:
                    self._spool.answers.forget(job)
                    return None
                if not os.path.samestat(os.lstat(claimed), status):
                    os.rename(claimed, f"{self._spool.cur}/{job}")
                    raise Refused(f"request file {quoted(name)} was replaced meanwhile")
                self._record(record, claimed)
                return job
            finally:
                presence.vanish()

    def _check(self, name: str, status: os.stat_result) -> None:
        if status.st_size > MAX_REQUEST_BYTES:
            raise _too_large(name)
        # Moving it is the last change of the file itself. An old file that somebody else
        # has given another name must not be carried out again.
        if status.st_ctime - status.st_mtime >= EXPIRES_AFTER or self._begun.knows(status):
            raise Refused(
                f"request file is expired: {quoted(name)} was written a minute or more "
                "before it was moved to `new`, or was carried out already",
                hint="Write a new request file and move it at once.",
            )

    def _record(self, record: Record, claimed: str) -> None:
        self._spool.write_record(record)
        os.rename(claimed, f"{self._spool.cur}/{record.job}")

    def go_on(self, job: str, claimed: Claimed, *, has_record: bool) -> None:
        """Complete what was interrupted between claiming a file and writing its record.

        The caller holds the job.
        """
        if has_record:
            os.rename(claimed.path, f"{self._spool.cur}/{job}")
            return
        try:
            self._record(_reread(job, claimed), claimed.path)
        except GobblerError as error:
            os.rename(claimed.path, f"{self._spool.cur}/{job}")
            self._refuse(job, split_job(job)[1], error)

    def _set_aside(self, new: int, name: str, status: os.stat_result, error: GobblerError) -> None:
        job = job_name(status.st_uid, name)
        if not is_fit(name) or job in self._spool.unanswered():
            job = job_name(status.st_uid, f"refused-{status.st_ino:x}")
        try:
            os.rename(name, f"{self._spool.cur}/{job}", src_dir_fd=new)
        except FileNotFoundError:
            logger.debug("%s is gone", quoted(name))
        except OSError as problem:
            # A directory of somebody else can't be moved: it stays where it is.
            self._immovable.add((status.st_ino, status.st_ctime_ns))
            logger.warning("could not set aside %s: %s", quoted(name), problem)
        self._refuse(job, name, error)

    def _refuse(self, job: str, name: str, error: GobblerError) -> None:
        logger.info("%s was set aside: %s", quoted(job), error.reason)
        moment = format_time(now())
        action = action_of(name) or ""
        answer = {**error.answer(), "code": error.status}
        state = JobState(job, action, "", "failed", moment, moment, moment, 0, answer=answer)
        self._spool.answers.finish(state)


def _reread(job: str, claimed: Claimed) -> Record:
    uid, name = split_job(job)
    descriptor = os.open(claimed.path, READ)
    with closing(descriptor):
        status = os.fstat(descriptor)
        found = (status.st_ino, status.st_mtime_ns, status.st_uid)
        if found != (claimed.inode, claimed.modified, uid):
            raise Refused(f"request file {quoted(name)} was replaced meanwhile")
        data = read_all(descriptor, MAX_REQUEST_BYTES)
    if len(data) > MAX_REQUEST_BYTES:
        raise _too_large(name)
    return Record.of(uid, account_name(uid, f"request file {quoted(name)}"), name, data)


def _too_large(name: str) -> Refused:
    return Refused(f"request file {quoted(name)} is larger than 16 MiB")
