"""What every action is given: the installation, and the call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gobbler.disk.flushing import Durability
from gobbler.disk.incoming import Job, new_job
from gobbler.index import Index, Search
from gobbler.registry import Registry
from gobbler.rules.dedup import Dedup
from gobbler.rules.spoofing import Spoofable
from gobbler.transfer.execute import Watcher
from gobbler.transfer.workshop import Workshop


@dataclass(frozen=True)
class Site:
    """One installation: its directories, its rules, and the means to work with.

    ``staging`` is an absolute path. ``width`` is how many batches of one job run at a
    time on ``executor``. ``index`` makes searching the registry quick; ``dedup`` beyond the
    latest version needs it.
    """

    staging: str
    registry: Registry
    admins: frozenset[str]
    whitelist: tuple[str, ...]
    spoofing: Mapping[str, Spoofable]
    durability: Durability
    executor: Executor
    width: int
    index: Index | None = None
    dedup: Dedup = Dedup.LATEST

    @property
    def search(self) -> Search:
        """The means of one request to search the registry."""
        return Search(self.registry, self.index)

    @property
    def workshop(self) -> Workshop:
        """The means to build and hash trees."""
        eager = self.durability is Durability.FULL
        return Workshop(self.registry, self.executor, self.width, write_out=eager)


@dataclass(frozen=True)
class Requester:
    """The account that owns the request: ``uid`` and its login ``name``."""

    uid: int
    name: str


@dataclass(frozen=True)
class Call:
    """One request being carried out.

    ``user`` is for whom (the requester, or the one that the requester may act for).
    ``task``: the name under which it goes on should this process die; may be empty.
    """

    site: Site
    requester: Requester
    user: str
    started: dt.datetime
    watcher: Watcher
    task: str = ""

    def new_job(self, *, resume: bool = False) -> AbstractContextManager[Job]:
        """The job below ``..incoming`` to build in.

        With ``resume``, what an earlier attempt at the task has built is still there.
        """
        return new_job(self.site.registry.root, self.task, resume=resume)


class Unwatched:
    """A watcher that neither looks nor stops anything."""

    def expect(self, files: int, size: int) -> None:
        """Nobody looks."""

    def advance(self, files: int, size: int) -> None:
        """Nobody looks."""

    def under_way(self, files: int, size: int) -> None:
        """Nobody looks."""

    def check(self) -> None:
        """Nobody stops it."""
