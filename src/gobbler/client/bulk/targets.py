"""The targets of a bulk run: projects, assets and versions, and facts about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

from gobbler.client import source
from gobbler.client.jobs import Job
from gobbler.client.service_url import without_secrets
from gobbler.client.source import ServiceInfo, Source
from gobbler.errors import GobblerError, Missing, Unreachable
from gobbler.model.names import AssetKey, VersionKey, name_problem
from gobbler.model.records import Summary, decode, decode_manifest
from gobbler.rules.bulk import version_fingerprint


class BulkService(Protocol):
    """The service and the registry that a bulk run works on."""

    @property
    def url(self) -> str | None:
        """The address of the service; ``None``: requests go through the spool."""

    @property
    def registry(self) -> str:
        """The path of the registry."""

    @property
    def source(self) -> Source:
        """The way to read the registry, without the cache."""

    def info(self) -> ServiceInfo:
        """The directories of the service."""

    def request(self, action: str, **fields: object) -> dict[str, object]:
        """Send a request and return its answer."""

    def start(self, action: str, **fields: object) -> Job:
        """Send a request and return its job."""


def registry_id(service: BulkService) -> tuple[str | None, str]:
    """The address of a service, and its registry: together they say which one is meant.

    Sends a request if the service has an address, so that a wrong address fails at once.
    """
    if service.url:
        return without_secrets(service.url.rstrip("/")), service.info().registry
    return None, os.path.realpath(service.registry)


class InvalidName(NamedTuple):
    """A directory that can't be a project, asset or version, and the problem with its name."""

    project: str
    asset: str
    version: str
    problem: str


class Targets:
    """The projects and assets in ``project`` and ``asset``; all of them if both are empty.

    ``ask`` calls a listing, and repeats it if there is no answer. Leaves out targets that are
    deleted meanwhile. ``invalid`` lists the directories with names that can't be valid.
    Raises :class:`~gobbler.errors.Missing` if ``project`` or ``asset`` does not exist.
    """

    def __init__(
        self,
        service: BulkService,
        project: str,
        asset: str,
        ask: Callable[[Callable[[], list[str]]], list[str]],
    ) -> None:
        self._service = service
        self._ask = ask
        self.invalid: list[InvalidName] = []
        self.projects = [project] if project else self._names(".")
        self.assets: list[AssetKey] = []
        for each in self.projects:
            if asset:
                self.assets.append(AssetKey.checked(each, asset))
            else:
                self.assets += self._assets(each, existed=not project)

    def _assets(self, project: str, *, existed: bool) -> Iterator[AssetKey]:
        names = self._names(project, project, existed=existed)
        return (AssetKey(project, name) for name in names)

    def versions(self) -> list[VersionKey]:
        """The versions of the assets."""
        existed = len(self.assets) > 1
        return [
            key.version(name)
            for key in self.assets
            for name in self._names(key.path, key.project, key.asset, existed=existed)
        ]

    def _names(self, path: str, *above: str, existed: bool = False) -> list[str]:
        """The valid names in ``path``; none if it ``existed`` before and was deleted."""
        try:
            found = self._ask(partial(source.names, self._service.source, path))
        except Missing:
            if not existed:
                raise
            return []
        for name in found:
            if (problem := name_problem(name)) is not None:
                # Bytes that are not UTF-8 can neither be printed nor written as JSON.
                shown = name.encode("utf-8", "backslashreplace").decode()
                project, asset, version = (*above, shown, "", "")[:3]
                self.invalid.append(InvalidName(project, asset, version, f"its name {problem}"))
        return [name for name in found if name_problem(name) is None]


class StoredFiles(NamedTuple):
    """The number of files of a version that are not links, and their bytes."""

    files: int
    bytes: int


def read_fingerprint(service: BulkService, key: VersionKey) -> str:
    """The fingerprint of a version; ``""`` if its summary can't be read."""
    try:
        return version_fingerprint(decode(service.source.read(key.summary), Summary, key.summary))
    except Unreachable:
        raise
    except (GobblerError, OSError):
        return ""


def read_stored_files(service: BulkService, key: VersionKey) -> StoredFiles | None:
    """The files that a version stores, by its manifest; ``None`` if that can't be read."""
    try:
        manifest = decode_manifest(service.source.read(key.manifest), key.manifest)
    except Unreachable:
        raise
    except (GobblerError, OSError):
        return None
    sizes = [e.size for e in manifest.values() if e.link is None and not e.is_directory]
    return StoredFiles(len(sizes), sum(sizes))


def exists(service: BulkService, *names: str) -> bool:
    """Whether the project, asset or version with these ``names`` exists."""
    *above, name = names
    try:
        return name in service.source.directories("/".join(above) or ".")
    except GobblerError as error:
        if isinstance(error, Unreachable):
            raise
        return False
