"""Request files that users have put into ``staging/..spool/new``, made into jobs.

Everybody can write there, and put anything there at any moment. A file is opened once,
and whose it is and what it says is read from that descriptor; it is claimed by renaming it
into a directory that only the service can enter, under a name that tells which file was
opened, so that whoever goes on after a crash takes no other one. Another one that was moved
instead goes back. All of it is done by whoever holds the job of that name.

What is no request is set aside in ``cur``, with an answer that says why.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection
from contextlib import suppress

from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.atomic_write import remove_quietly
from gobbler.fs.open import READ, account_name, closing, exists, open_directory, open_users_file
from gobbler.model.jobs import is_valid_request_file, job_name, split_job
from gobbler.rules.fairness import Waiting
from gobbler.spool.job_store import Claimed, Record
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.request_file import EXPIRES_AFTER, check_size, read_request
from gobbler.spool.spool import Spool, check_job_name

logger = logging.getLogger(__name__)


class Inbox:
    """The files in ``new`` of one spool. ``replay_guard`` knows what was asked over HTTP."""

    def __init__(self, spool: Spool, replay_guard: ReplayGuard) -> None:
        self._spool = spool
        self._replay_guard = replay_guard
        self._immovable: set[tuple[int, int]] = set()

    def waiting(self, *, besides: Collection[str]) -> dict[str, Waiting]:
        """What waits in ``new``, by the name of the file, ``besides`` the jobs of these names."""
        found = {}
        immovable = set()
        with os.scandir(self._spool.new) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    job = job_name(status.st_uid, entry.name)
                    if (which := (status.st_ino, status.st_ctime_ns)) in self._immovable:
                        immovable.add(which)
                    elif job not in besides:
                        found[entry.name] = Waiting(job, status.st_uid, status.st_mtime)
        self._immovable = immovable
        return found

    def claim(self, name: str) -> str | None:
        """Make the file ``name`` a job, and answer the job's name.

        ``None`` if it is gone, another process is at it, or it was set aside; or if a job
        of the same name must end first.
        """
        with closing(open_directory(self._spool.new)) as new:
            try:
                status = os.stat(name, dir_fd=new, follow_symlinks=False)
            except FileNotFoundError:
                return None
            job = _job_of(name, status)
            lease = self._spool.hold(job)
            if lease is None:
                return None
            try:
                if self._spool.records.of(job) is not None:
                    return None
                try:
                    return self._claim(new, name, job, status)
                except GobblerError as error:
                    self._set_aside(new, name, job, status, error)
                    return None
            finally:
                lease.release()

    def _claim(self, new: int, name: str, job: str, seen: os.stat_result) -> str | None:
        check_job_name(name)
        descriptor, status = open_users_file(new, name, "request file")
        with closing(descriptor):
            if not os.path.samestat(status, seen):
                return None  # it is looked at again
            self._check(name, status)
            data = read_request(name, descriptor)
            user = account_name(status.st_uid, f"request file {quoted(name)}")
            record = Record.of(status.st_uid, user, name, data)
            self._forget_former(job, status)
            # Told before it is taken: it is always known, to whoever asks for it.
            self._spool.answers.tell(record.state())
            claimed = self._spool.records.claimed_path(job, status)
            if not self._move(new, name, claimed, status):
                self._spool.answers.forget(job)
                return None
            self._record(record, claimed, status)
            return job

    def _check(self, name: str, status: os.stat_result) -> None:
        check_size(name, status)
        # Moving it is the last change of the file itself; how long it waits here does not
        # matter. An old file that somebody else
        # has given another name must not be carried out again.
        if status.st_ctime - status.st_mtime >= EXPIRES_AFTER or self._replay_guard.knows(status):
            raise Refused(
                f"request file is expired: {quoted(name)} was written a minute or more "
                "before it was moved to `new`, or was carried out already",
                code=Code.EXPIRED_REQUEST,
                hint="Write a new request file and move it at once.",
            )

    def _forget_former(self, job: str, status: os.stat_result) -> None:
        """Forget an earlier job of the same name, and that it was to be cancelled."""
        self._spool.answers.forget(job)
        mark = self._spool.records.cancel_mark(job)
        with suppress(FileNotFoundError):
            if os.lstat(mark).st_mtime < status.st_ctime:
                remove_quietly(mark)

    def _move(self, new: int, name: str, target: str, status: os.stat_result) -> bool:
        """Move the file of that ``status`` away; whether it was still there.

        A file that somebody has put in its place meanwhile goes back.
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

    def _record(self, record: Record, claimed: str, status: os.stat_result) -> None:
        self._replay_guard.note(status)
        self._spool.records.write(record)
        os.rename(claimed, f"{self._spool.cur}/{record.job}")

    def go_on(self, job: str, claimed: Claimed, *, has_record: bool) -> None:
        """Complete what was interrupted between claiming a file and writing its record.

        The caller holds the job.
        """
        if has_record:
            os.rename(claimed.path, f"{self._spool.cur}/{job}")
            return
        uid, name = split_job(job)
        status = os.lstat(claimed.path)
        if (status.st_ino, status.st_mtime_ns, status.st_uid) != (*claimed[1:], uid):
            self._put_back(claimed.path, name)
            self._spool.answers.forget(job)
            return
        try:
            record, status = _reread(job, claimed)
            self._spool.answers.tell(record.state())
            self._record(record, claimed.path, status)
        except GobblerError as error:
            self._spool.answers.refuse(job, error)
            os.rename(claimed.path, f"{self._spool.cur}/{_refused(status)}")

    def _set_aside(
        self, new: int, name: str, job: str, status: os.stat_result, error: GobblerError
    ) -> None:
        with suppress(FileNotFoundError):
            # It may have gone, and that be the error; then there is nothing to tell.
            if not os.path.samestat(os.stat(name, dir_fd=new, follow_symlinks=False), status):
                return
            self._spool.answers.refuse(job, error)
            logger.info("%s of user %d was set aside: %s", quoted(name), status.st_uid, error)
            try:
                self._move(new, name, f"{self._spool.cur}/{_refused(status)}", status)
            except PermissionError as problem:
                self._remove(new, name, status, problem)

    def _remove(self, new: int, name: str, status: os.stat_result, problem: OSError) -> None:
        """Remove a directory of somebody else, which can't be moved."""
        try:
            os.rmdir(name, dir_fd=new)
        except OSError:
            # There is something in it: it stays where it is.
            self._immovable.add((status.st_ino, status.st_ctime_ns))
            logger.warning("could not set aside %s: %s", quoted(name), problem)


def _job_of(name: str, status: os.stat_result) -> str:
    """The job under whose name the file ``name`` is answered."""
    # Who has given another's file one more name must not answer that one's jobs.
    is_doubtful = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    return (
        job_name(status.st_uid, name)
        if is_valid_request_file(name) and not is_doubtful
        else _refused(status)
    )


def _refused(status: os.stat_result) -> str:
    """The name of what is no request, whatever it is called."""
    return job_name(status.st_uid, f"refused-{status.st_ino:x}")


def _reread(job: str, claimed: Claimed) -> tuple[Record, os.stat_result]:
    uid, name = split_job(job)
    try:
        descriptor = os.open(claimed.path, READ)
    except PermissionError:
        raise Refused(
            f"the service may not read request file {quoted(name)}", code=Code.UNREADABLE
        ) from None
    with closing(descriptor):
        status = os.fstat(descriptor)
        data = read_request(name, descriptor)
    user = account_name(uid, f"request file {quoted(name)}")
    return Record.of(uid, user, name, data), status
