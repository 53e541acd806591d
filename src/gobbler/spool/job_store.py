"""The job store: the records of unanswered jobs.

``staging/..spool/jobs`` is the service's own::

    {job}.{n}.job   its record; the job has begun n times
    {job}.draft     its record while it is written
    {job}.request   a request file that was claimed and has no record yet
    {job}.lock      the lease of the process that works on the job
    {job}.cancel    its owner has cancelled it

**A job begins by a rename** of its record from ``n`` to ``n + 1``: of several processes that try,
one succeeds, even where locks exclude nobody. The lease shows whether the process that began a
job still lives. If not, the next one begins the job again in the same *workspace* (see
:mod:`gobbler.registry.workspace`), so that the change is made once.

One job is found by these names alone; the backlog (:mod:`gobbler.spool.backlog`) follows the names
of all jobs. Users read
``{job}.state`` and ``{job}.answer`` in ``staging/..spool/cur``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.atomic_write import remove_quietly, replace
from gobbler.fs.clock import now
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.open import exists
from gobbler.fs.record_file import read_file
from gobbler.model.jobs import (
    JobState,
    job_name,
    split_job,
)
from gobbler.model.records import decode, format_time
from gobbler.model.requests import action_of, subject_of
from gobbler.registry.workspace import new_workspace_name

LOCK_SUFFIX = ".lock"
CANCEL_SUFFIX = ".cancel"
RECORD_DRAFT_SUFFIX = ".draft"
REQUEST_SUFFIX = ".request"

MAX_ATTEMPTS = 10
"""A job fails after this number of workers have died while they ran it."""
LAST_ATTEMPT = MAX_ATTEMPTS + 1  # in which the job is only answered

TEMPORARY_PREFIX = "..tmp-"
"""Prefix of states and answers that are being written."""

_RECORD = re.compile(r"((?:0|[1-9][0-9]*)-.+)\.([0-9]+)\.job", re.DOTALL)
_REQUEST = re.compile(
    r"((?:0|[1-9][0-9]*)-.+)\.(?:request|([0-9a-f]+)-([0-9a-f]+)\.claimed)", re.DOTALL
)
"""Services before the introduction of drafts wrote the second form."""


class JobRecord(Struct, frozen=True):
    """An accepted request: its requester and its content.

    ``inode`` and ``modified`` (nanoseconds) are those of the request file, if it came from the
    inbox.
    """

    job: str
    workspace: str = field(name="task")
    uid: int
    user: str
    name: str
    data: bytes
    submitted: str
    inode: int = 0
    modified: int = 0

    @classmethod
    def of(
        cls, uid: int, user: str, name: str, data: bytes, file: os.stat_result | None = None
    ) -> JobRecord:
        """A new record of the request ``name``; ``file`` is the status of its file."""
        return cls(
            job_name(uid, name),
            new_workspace_name(),
            uid,
            user,
            name,
            data,
            format_time(now()),
            0 if file is None else file.st_ino,
            0 if file is None else file.st_mtime_ns,
        )

    def state(self) -> JobState:
        """The state of the job before it begins."""
        action = action_of(self.name) or ""
        address = subject_of(self.data).address
        return JobState(self.job, action, self.user, "waiting", self.submitted, address=address)

    def is_of(self, file: os.stat_result) -> bool:
        """Whether it was made from the request file with this status."""
        facts = (file.st_ino, file.st_mtime_ns, file.st_uid)
        return facts == (self.inode, self.modified, self.uid)


class ClaimedFile(NamedTuple):
    """A claimed request file. A service before there were drafts named it by inode and time."""

    path: str
    inode: int = 0
    modified: int = 0


class PendingJob(NamedTuple):
    """What is known of an unanswered job: how often it has begun (``None``: it has no record yet).

    ``claim``: its request file, if it was claimed and not put in its place yet.
    """

    attempts: int | None = None
    claim: ClaimedFile | None = None

    @property
    def is_unanswered(self) -> bool:
        """Whether there is such a job at all."""
        return self.attempts is not None or self.claim is not None


class JobRecords:
    """The files in ``directory``. Changes to a job are made by the holder of its lease."""

    def __init__(self, directory: str, durability: Durability) -> None:
        self._durability = durability
        self.directory = directory

    def lock(self, job: str) -> str:
        """The path of the lease of ``job``."""
        return f"{self.directory}/{job}{LOCK_SUFFIX}"

    def cancel_mark(self, job: str) -> str:
        """The path of the mark that ``job`` is cancelled."""
        return f"{self.directory}/{job}{CANCEL_SUFFIX}"

    def request(self, job: str) -> str:
        """The path of the claimed request file of ``job``."""
        return f"{self.directory}/{job}{REQUEST_SUFFIX}"

    def exists(self, job: str) -> bool:
        """Whether ``job`` is unanswered. The caller holds its lease."""
        names = [self._path(job, attempts) for attempts in range(LAST_ATTEMPT + 1)]
        return any(exists(path) for path in (*names, self.request(job)))

    def write(self, record: JobRecord) -> None:
        """Make the record of a job that has none; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` if it has one.
        """
        self.write_draft(record)
        try:
            self.publish(record.job)
        except BaseException:
            self.remove_draft(record.job)
            raise

    def write_draft(self, record: JobRecord) -> None:
        """Write a record that does not count yet."""
        full, text = self._durability is Durability.FULL, msgspec.json.encode(record)
        replace(self._draft(record.job), text, flush=full, workspace=self.directory)

    def read_draft(self, job: str) -> JobRecord | None:
        """The draft of a record, if there is one that can be read."""
        path = self._draft(job)
        try:
            return decode(read_file(path, path, own=True), JobRecord, path)
        except GobblerError:
            return None

    def remove_draft(self, job: str) -> None:
        """Remove the draft of a record."""
        remove_quietly(self._draft(job))

    def publish(self, job: str) -> None:
        """Make the draft of ``job`` its record; it is on disk when this returns.

        Raises :class:`~gobbler.errors.Refused` if the job has a record.
        """
        try:
            os.link(self._draft(job), self._path(job, 0))
        except FileExistsError:
            raise in_progress(split_job(job)[1]) from None
        try:
            flush_directory(self.directory, self._durability)
        except OSError:
            os.unlink(self._path(job, 0))  # the client gets an error
            raise
        self.remove_draft(job)

    def begin(self, job: str, attempts: int) -> JobRecord | None:
        """Begin a job that has begun ``attempts`` times; ``None`` if another process did.

        Raises :class:`~gobbler.errors.GobblerError` if its record is damaged.
        """
        path = self._path(job, next_attempt(attempts))
        try:
            os.rename(self._path(job, attempts), path)
        except FileNotFoundError:
            return None
        return decode(read_file(path, path, own=True), JobRecord, path)

    def rewrite(self, record: JobRecord, attempts: int) -> None:
        """Write the record of a running job that was removed."""
        self.write_draft(record)
        os.rename(self._draft(record.job), self._path(record.job, attempts))

    def has_begun(self, job: str, attempts: int) -> bool:
        """Whether ``job`` has begun ``attempts`` times, and no more."""
        return exists(self._path(job, attempts))

    def give_back(self, job: str, attempts: int) -> None:
        """Let a job begin again as if it had not begun."""
        os.rename(self._path(job, attempts), self._path(job, attempts - 1))

    def remove(self, job: str, attempts: int) -> None:
        """Remove the record of a job that is answered."""
        for path in (self._path(job, attempts), self.cancel_mark(job)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def is_cancelled(self, job: str) -> bool:
        """Whether the owner of ``job`` has cancelled it."""
        return exists(self.cancel_mark(job))

    def pending(self) -> dict[str, PendingJob]:
        """All unanswered jobs by name, in one listing."""
        parts: dict[str, set[str]] = {}
        for name in os.listdir(self.directory):
            if (job := job_of(name)) is not None:
                parts.setdefault(job, set()).add(name)
        found = {job: pending_job(names, self.directory) for job, names in parts.items()}
        return {job: pending for job, pending in found.items() if pending.is_unanswered}

    def _draft(self, job: str) -> str:
        return f"{self.directory}/{job}{RECORD_DRAFT_SUFFIX}"

    def _path(self, job: str, attempts: int) -> str:
        return f"{self.directory}/{job}.{attempts}.job"


def next_attempt(attempts: int) -> int:
    """The number of the attempt after ``attempts`` of them."""
    return min(attempts + 1, LAST_ATTEMPT)


def job_of(name: str) -> str | None:
    """The job to which the file ``name`` in ``jobs`` belongs; ``None`` if it is a draft, or none's.

    Drafts, and files that are being written, are of interest only to their writer.
    """
    if name.startswith(TEMPORARY_PREFIX):
        return None
    for suffix in (LOCK_SUFFIX, CANCEL_SUFFIX):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    found = _RECORD.fullmatch(name) or _REQUEST.fullmatch(name)
    return None if found is None else found[1]


def pending_job(names: Iterable[str], directory: str) -> PendingJob:
    """What the ``names`` of the files of one job in ``directory`` say about it."""
    found = PendingJob()
    for name in names:
        if record := _RECORD.fullmatch(name):
            found = found._replace(attempts=int(record[2]))
        elif request := _REQUEST.fullmatch(name):
            path = f"{directory}/{name}"
            claim = ClaimedFile(path, int(request[2] or "0", 16), int(request[3] or "0", 16))
            found = found._replace(claim=claim)
    return found


def in_progress(name: str) -> Refused:
    """The error for a request file that has the name of an unanswered job."""
    return Refused(
        f"path is already being processed: {quoted(name)}",
        code=Code.REPEATED_REQUEST,
        hint="Its job has not been answered yet; give another request another name.",
    )
