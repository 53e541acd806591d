"""The groups of a client: the jobs of its service, and its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from msgspec import Struct

from gobbler.client.cache.comparison import ServiceComparison
from gobbler.client.cache.entries import (
    CacheEntry,
    Damage,
    PruneResult,
    Verifier,
    entries,
    prune,
    remove,
)
from gobbler.client.cache.placement import cache_errors
from gobbler.client.connection import Connection
from gobbler.client.handle import html_of
from gobbler.client.jobs import Job
from gobbler.errors import Forbidden
from gobbler.model.jobs import JobState

T = TypeVar("T")


class _Listed(Struct, frozen=True):
    jobs: list[JobState]


class JobList:
    """The user's jobs of the last seven days.

    ::

        for state in client.jobs:
            print(state.job, state.state)
        client.jobs["request-upload-9ab1"].wait()
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        return f"<JobList of {self._connection}>"

    def _repr_html_(self) -> str:
        return html_of(self, "jobs", self._connection)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobList) and self._connection == other._connection

    def __hash__(self) -> int:
        return hash(self._connection)

    def __iter__(self) -> Iterator[JobState]:
        return iter(self.list())

    def list(self, *, all_users: bool = False) -> list[JobState]:
        """The user's jobs; with ``all_users`` the jobs of all users, for administrators."""
        return self._connection.request_as(_Listed, "list_jobs", all=all_users).jobs

    def get(self, name: str) -> Job:
        """The job ``name``, or the user's own job whose request file has that name.

        If there is no such job, reading its state raises.
        """
        return self._connection.job(name)

    __getitem__ = get


class CacheDirectory:
    """The directory for files that are fetched over HTTP, from all services.

    Sends no request. ``os.fspath()`` returns its path.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def path(self) -> str:
        """The path of the directory, which may not exist yet."""
        return self._connection.cache_directory

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<CacheDirectory {self.path}>"

    def _repr_html_(self) -> str:
        return html_of(self, self.path, "this machine")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheDirectory) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def entries(self) -> list[CacheEntry]:
        """Everything in the cache, by service and path."""
        return self._used_by(entries)

    def verify(self) -> Iterator[Damage]:
        """Read everything in the cache, and yield each file that has changed since it was fetched.

        Also yields each entry whose version its service does not have any more, or has replaced;
        an entry whose service does not answer counts as valid. Only files that a manifest lists
        can be verified. To repair the cache, give the entries to :meth:`remove` and fetch them
        again.
        """
        verifier = Verifier()
        services = ServiceComparison(offline=self._connection.is_offline)
        for entry in self.entries():
            with cache_errors(self.path):
                damage = list(verifier.damage(entry))
                problem = None if damage else services.problem(entry)
            yield from damage
            if problem is not None:
                yield Damage(entry, entry.place, problem)

    def remove(self, *entries: CacheEntry, dry_run: bool = False) -> PruneResult:
        """Remove entries from the cache."""
        return self._used_by(lambda path: remove(path, entries, dry_run=dry_run))

    def prune(self, older_than: float, *, dry_run: bool = False) -> PruneResult:
        """Remove what was not used for ``older_than`` seconds, and return what was removed.

        With ``dry_run`` nothing is removed. Files that a process has open stay readable for it.
        """
        return self._used_by(lambda path: prune(path, older_than, dry_run=dry_run))

    def _used_by(self, work: Callable[[str], T]) -> T:
        """What ``work`` returns for the directory.

        A default directory that can't be used is replaced by that to which downloads go instead.
        """
        try:
            with cache_errors(self.path):
                return work(self.path)
        except Forbidden as error:
            if not self._connection.replace_default_cache(error.reason):
                raise
        with cache_errors(self.path):
            return work(self.path)
