"""The jobs that are not answered yet: ``staging/..spool/jobs``, the service's own.

::

    {job}.{n}.job                   its record, begun n times
    {job}.{inode}-{time}.claimed    a request file that has no record yet
    {job}.lock                      the presence of whoever is at it
    {job}.cancel                    its owner wants it no more

**A job is begun by a rename**, of its record from ``n`` to ``n + 1``: of several who try, one
succeeds, also where locks succeed for everybody. The presence tells whether whoever began
it lives; when not, the next one begins it again, as the same *task* (see
:mod:`gobbler.disk.incoming`), so that its change is made once.
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
from gobbler.disk.writing import remove_quietly, write_new
from gobbler.errors import Refused, quoted
from gobbler.jobs import JobState, job_name
from gobbler.records import decode, format_time
from gobbler.requests import action_of

LOCK_SUFFIX = ".lock"
CANCEL_SUFFIX = ".cancel"

TEMPORARY = "..tmp-"
"""Begins the names of files that are still being written."""

_RECORD = re.compile(r"((?:0|[1-9][0-9]*)-.+)\.([0-9]+)\.job", re.DOTALL)
_CLAIMED = re.compile(r"((?:0|[1-9][0-9]*)-.+)\.([0-9a-f]+)-([0-9a-f]+)\.claimed", re.DOTALL)


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
    """A request file without a record, or beside it: which file it must be."""

    path: str
    inode: int
    modified: int


class Unanswered(NamedTuple):
    """What there is of one job: ``begun`` so often (``None``: no record yet).

    ``is_held``: somebody is, or was, at it. ``since``: seconds since the epoch.
    """

    begun: int | None = None
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
        beside = f"{self.directory}/{TEMPORARY}{record.task}"
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

    def begin(self, job: str, begun: int) -> Record | None:
        """Begin a job that was ``begun`` so often before; ``None`` if somebody else did.

        The caller holds it. Raises :class:`~gobbler.errors.GobblerError` if it is damaged.
        """
        path = self._path(job, begun + 1)
        try:
            os.rename(self._path(job, begun), path)
        except FileNotFoundError:
            return None
        return decode(read_file(path, path), Record, path)

    def give_back(self, job: str, begun: int) -> None:
        """Let a job be begun again as if it had not been. The caller holds it."""
        os.rename(self._path(job, begun), self._path(job, begun - 1))

    def remove(self, job: str, begun: int) -> None:
        """Forget a job that is answered. The caller holds it."""
        for path in (self._path(job, begun), self.cancel_mark(job)):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def is_cancelled(self, job: str) -> bool:
        """Whether its owner wants a job no more."""
        return is_there(self.cancel_mark(job))

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

    def _path(self, job: str, begun: int) -> str:
        return f"{self.directory}/{job}.{begun}.job"


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
                found[match[1]] = known._replace(begun=int(record[2]))
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
        hint="Its job has not been answered yet; give another request another name.",
    )


def _flush_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
