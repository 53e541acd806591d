"""The backlog: the unanswered jobs of a spool, and which of them wait, kept up to date.

It follows the names that appear and vanish in ``new`` and ``jobs``, so a change costs the same
however many jobs wait, and nothing is read while nothing changes.

A job is *held* while its lease is there. If the holder has died, the job is *abandoned* and waits
again. The kernel reports that a lease was closed; and each lease of another process is checked
every few seconds.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress

from gobbler.fs.directory_watch import DirectoryWatch
from gobbler.fs.layout import check_own
from gobbler.rules.fairness import Waiting
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import CANCEL_SUFFIX, LOCK_SUFFIX, PendingJob, job_of, pending_job
from gobbler.spool.spool import Spool

CHECK_LEASES_EVERY = 5.0
"""Seconds between two checks whether the holder of a lease still lives."""

CHECK_LEASES_PAUSE = 1.0
"""Seconds between two such checks at least."""

LOOK_EVERY = 60.0
"""Seconds between two looks at directories in the inbox that could not be set aside."""

LOOK_PAUSE = 1.0
"""Seconds before another look at a file in the inbox at which the filesystem failed."""


class Backlog:
    """What waits in ``spool``; ``remote`` as for
    :class:`~gobbler.fs.directory_watch.DirectoryWatch`.

    One thread uses it; any thread may call :meth:`wake`.
    """

    def __init__(self, spool: Spool, inbox: Inbox, *, remote: bool | None = None) -> None:
        self._spool = spool
        self._inbox = inbox
        self._jobs = spool.records.directory
        needed = (os.path.dirname(spool.new), inbox.replay_guard)
        self._watch = DirectoryWatch((spool.new, self._jobs), needed=needed, remote=remote)
        self.wait, self.wake = self._watch.wait, self._watch.wake
        self._reset()

    def _reset(self) -> None:
        self._arrived: dict[str, Waiting] = {}  # by the name of the file
        self._files: dict[str, str] = {}  # the names of these files, by job
        self._parts: dict[str, set[str]] = {}  # the names in `jobs` that belong to a job
        self._since: dict[str, float] = {}
        self._abandoned: set[str] = set()
        self._checks: dict[str, float] = {}  # when each lease is checked
        self._unclear: set[str] = set()  # the names of files at which the filesystem failed
        self._next_look = 0.0
        self._is_new = True

    @property
    def as_of(self) -> float:
        """The moment (monotonic seconds) since which there may be changes that are not known."""
        return self._watch.as_of

    @property
    def next_check(self) -> float:
        """When a lease or a file is looked at next (monotonic seconds)."""
        return min((self._next_look, *self._checks.values()))

    def refresh(self, ours: Collection[str]) -> set[str]:
        """Follow what has changed; the names of the jobs concerned.

        ``ours`` are the jobs that this process runs, whose leases are not checked. Raises
        ``OSError`` if the spool can't be listed, and :class:`~gobbler.errors.Fault` if it is
        another account's; all is forgotten then.
        """
        try:
            return self._refresh(ours)
        except BaseException:
            # What was taken from the watch must be found again.
            self._watch.forget()
            self._reset()
            raise

    def _refresh(self, ours: Collection[str]) -> set[str]:
        if self._is_new:
            check_own(self._spool.directories)
        changed = self._watch.refresh()
        touched = {job for name in changed[self._jobs] if (job := self._note(name))}
        for name in changed[self._spool.new]:
            touched |= self._note_file(name)
        self._is_new = False
        now = time.monotonic()
        if now >= self._next_look:
            unclear, self._unclear = self._unclear, set()
            for name in unclear.union(self._inbox.immovable()):
                touched |= self._note_file(name)
            self._next_look = now + LOOK_EVERY
        if self._unclear:
            self._next_look = min(self._next_look, now + LOOK_PAUSE)
        return touched | self._check_leases(now, ours)

    def _note(self, name: str) -> str | None:
        """Note that ``name`` has appeared or vanished in ``jobs``; the job that it belongs to."""
        job = job_of(name)
        if job is None:
            return None
        parts = self._parts.setdefault(job, set())
        was_known, is_there = name in parts, name in self._watch.names(self._jobs)
        (parts.add if is_there else parts.discard)(name)
        if name.endswith(LOCK_SUFFIX):
            self._note_lease(job, was_known=was_known, is_there=is_there)
        elif job not in self._since and is_there and not name.endswith(CANCEL_SUFFIX):
            with suppress(OSError):  # it may be answered meanwhile; only its turn depends on it
                self._since[job] = os.lstat(f"{self._jobs}/{name}").st_mtime
        if not parts:
            del self._parts[job]
            self._since.pop(job, None)
        return job

    def _note_lease(self, job: str, *, was_known: bool, is_there: bool) -> None:
        self._abandoned.discard(job)
        if not is_there:
            self._checks.pop(job, None)
        elif was_known:  # its file was closed: perhaps with its holder
            soon = time.monotonic() + CHECK_LEASES_PAUSE
            self._checks[job] = min(self._checks.get(job, soon), soon)
        else:  # its maker may not have locked it yet
            pause = 0.0 if self._is_new else CHECK_LEASES_EVERY
            self._checks[job] = time.monotonic() + pause

    def _note_file(self, name: str) -> set[str]:
        """Note what ``name`` in ``new`` is now; the jobs that it belonged or belongs to."""
        before = self._arrived.pop(name, None)
        if before is not None:
            self._files.pop(before.job, None)
        found = None
        if name in self._watch.names(self._spool.new):
            try:
                found = self._inbox.arrival(name)
            except OSError:  # one file must not keep the others waiting
                self._unclear.add(name)
        if found is not None:
            self._arrived[name] = found
            self._files[found.job] = name
        return {job.job for job in (before, found) if job is not None}

    def _check_leases(self, now: float, ours: Collection[str]) -> set[str]:
        """Check the leases that are due; the jobs that turn out to be abandoned."""
        found = set()
        for job in [job for job, due in self._checks.items() if due <= now]:
            self._checks[job] = now + CHECK_LEASES_EVERY
            with suppress(OSError):  # it is checked again
                if job not in ours and self._spool.is_abandoned(job):
                    self._abandoned.add(job)
                    found.add(job)
        return found

    def look_again(self, job: str) -> None:
        """Look at the file of a job that could not be begun."""
        if (name := self._files.get(job)) is not None:
            self._note_file(name)

    def pending(self, job: str) -> PendingJob:
        """What is known of the record of ``job``."""
        return pending_job(self._parts.get(job, ()), self._jobs)

    def file_of(self, job: str) -> str | None:
        """The name of the file in ``new`` that is to become ``job``."""
        return None if self.pending(job).is_unanswered else self._files.get(job)

    def waiting(self, job: str) -> Waiting | None:
        """``job`` if it waits: no living process holds it."""
        parts = self._parts.get(job, set())
        if job + LOCK_SUFFIX in parts and job not in self._abandoned:
            return None
        if self.pending(job).is_unanswered:
            return Waiting(job, _owner(job), self._since.get(job, 0.0))
        return self._arrived.get(self._files.get(job, ""))

    def is_cancelled(self, job: str) -> bool:
        """Whether the owner of ``job`` has cancelled it."""
        return job + CANCEL_SUFFIX in self._parts.get(job, set())

    def running(self, *, besides: Collection[str]) -> Counter[int]:
        """The number of jobs of each user that living processes hold, ``besides`` some jobs."""
        return Counter(
            _owner(job)
            for job in self._checks
            if job not in besides and job not in self._abandoned and self.pending(job).is_unanswered
        )


def _owner(job: str) -> int:
    """The user of a job that has a record: its name has the form of one."""
    return int(job.partition("-")[0])
