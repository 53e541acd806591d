"""The service context and the request context, which every action gets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from gobbler.errors import Code, Forbidden, Missing, quoted
from gobbler.fs.authorship import Authorship
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_reserve
from gobbler.fs.reserve import Reserve
from gobbler.index import Index, Search
from gobbler.model.names import VersionKey
from gobbler.model.progress import CancelToken, Progress
from gobbler.model.records import Permissions
from gobbler.model.requests import RELIEVING, OfVersion
from gobbler.registry.locks import check_asset
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace, new_workspace
from gobbler.rules.dedup import Dedup
from gobbler.rules.permissions import Spoofable
from gobbler.transfer.dispatch import Dispatcher


@dataclass(frozen=True)
class ServiceContext:
    """The installation that actions work on: its directories, rules and executor.

    ``staging`` is an absolute path. ``width``: how many batches of a request run at a time on
    ``executor``. ``index`` speeds up searches of the registry; ``dedup`` beyond the latest version
    needs it. ``authorship`` decides whose work a source is.
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
    authorship: Authorship = field(default_factory=Authorship)

    def reserves_for(self, action: str | None) -> tuple[Reserve, ...]:
        """The reserves of space on which an action may draw if a disk is full."""
        if action not in RELIEVING:
            return ()
        return self.registry.reserve, Reserve(staging_reserve(self.staging))

    @property
    def search(self) -> Search:
        """A search of the registry, for one request."""
        return Search(self.registry, self.index)


@dataclass(frozen=True)
class Requester:
    """The account that owns the request: its user ID and its login name."""

    uid: int
    name: str


@dataclass(frozen=True)
class RequestContext:
    """One request being carried out.

    ``user`` is the requester, or the user for whom the requester acts. ``workspace_name``: the
    resumable workspace of a job, in which another process can resume the work if this one dies;
    empty for a workspace that ends with the request.
    """

    service: ServiceContext
    requester: Requester
    user: str
    started: dt.datetime
    progress: Progress
    cancel: CancelToken
    workspace_name: str = ""

    def new_workspace(self, *, resume: bool = False) -> AbstractContextManager[Workspace]:
        """A workspace below ``..incoming``.

        With ``resume``, a resumable workspace keeps the files of an earlier attempt.
        """
        return new_workspace(self.service.registry.root, self.workspace_name, resume=resume)

    def dispatcher(self, workspace: Workspace) -> Dispatcher:
        """The dispatcher for batches of files in ``workspace``."""
        return Dispatcher(
            self.service.registry,
            self.service.executor,
            self.service.width,
            write_out=self.service.durability is Durability.FULL,
            workspace=workspace,
            progress=self.progress,
            cancel=self.cancel,
        )


def existing_version(registry: Registry, request: OfVersion) -> VersionKey:
    """The version that ``request`` names.

    Raises :class:`~gobbler.errors.Refused` for bad names and
    :class:`~gobbler.errors.Missing` when project, asset or version is not there.
    """
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_asset(registry, key.of_asset)
    if not registry.has(key.path):
        raise Missing(f"version {quoted(key.path)} does not exist", code=Code.VERSION_NOT_FOUND)
    return key


def owners_of(registry: Registry, key: VersionKey) -> tuple[Permissions, Permissions | None]:
    """The permissions of a version's project and of its asset."""
    return registry.permissions(key.project), registry.asset_permissions(key.of_asset)


def check_admin(context: RequestContext, what: str) -> None:
    """Raise :class:`~gobbler.errors.Forbidden` unless the user is an administrator.

    ``what`` completes the message: only administrators may do that.
    """
    if context.user not in context.service.admins:
        raise Forbidden(f"user {quoted(context.user)} may not {what}: only administrators may")
