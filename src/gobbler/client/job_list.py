"""The jobs of a service: requests that it carries out while the user does something else."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gobbler.client.connection import Connection
from gobbler.client.handle import html_of
from gobbler.client.jobs import Job
from gobbler.model.jobs import JobState


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

    def list(self, *, everybodys: bool = False) -> list[JobState]:
        """The user's jobs; for administrators also ``everybodys``."""
        return self._connection.request_as(_Listed, "list_jobs", all=everybodys).jobs

    def get(self, name: str) -> Job:
        """The job ``name``, or the user's own job whose request file has that name.

        Whether there is one shows when its state is read.
        """
        return self._connection.job(name)

    __getitem__ = get
