"""The targets of a bulk run: projects, assets and versions, and facts about them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gobbler.client.jobs import Job
from gobbler.client.registry_walk import RegistryWalk, SkippedEntry
from gobbler.client.service_url import without_secrets
from gobbler.client.source import Listing, ServiceInfo, Source
from gobbler.errors import GobblerError, Unreachable
from gobbler.model.names import AssetKey, VersionKey
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


class Targets:
    """The projects and assets in ``project`` and ``asset``; all of them if both are empty.

    ``ask`` calls a listing, and repeats it if there is no answer. Leaves out targets that are
    deleted meanwhile, and what is nobody's: see ``skipped``. Raises
    :class:`~gobbler.errors.Missing` if ``project`` or ``asset`` does not exist.
    """

    def __init__(
        self,
        service: BulkService,
        project: str,
        asset: str,
        ask: Callable[[Callable[[], Listing]], Listing],
    ) -> None:
        self._walk = RegistryWalk(service.source, ask=ask)
        self._is_named = bool(asset)
        self.projects: list[str] = []
        self.assets: list[AssetKey] = []
        for each in [project] if project else self._walk.projects():
            if asset:
                found: list[AssetKey] | None = [AssetKey.checked(each, asset)]
            else:
                found = self._walk.assets(each, is_named=bool(project))
            if found is not None:
                self.projects.append(each)
                self.assets += found

    def versions(self) -> list[VersionKey]:
        """The versions of the assets."""
        return [
            version
            for key in self.assets
            for version in self._walk.versions(key, is_named=self._is_named)
        ]

    @property
    def skipped(self) -> tuple[SkippedEntry, ...]:
        """What was left out so far."""
        return tuple(self._walk.skipped)


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
        return name in service.source.listing("/".join(above) or ".").directories
    except GobblerError as error:
        if isinstance(error, Unreachable):
            raise
        return False
