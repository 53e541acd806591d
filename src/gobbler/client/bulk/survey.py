"""What there is to go over, in a registry, a project or an asset.

What sweeps need to know of a registry and its versions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from gobbler.client.errors import RequestFailed, RequestForbidden, RequestMissing
from gobbler.client.registry_reader import RegistryReader
from gobbler.client.source import Source, names
from gobbler.errors import GobblerError, Missing, Unreachable
from gobbler.model.names import AssetKey, VersionKey, name_problem
from gobbler.model.records import Summary, decode, decode_manifest
from gobbler.rules.bulk import stamp


class Odd(NamedTuple):
    """A directory that can be no project, asset or version, and why."""

    project: str
    asset: str
    version: str
    problem: str


class Survey:
    """The projects, assets and versions in ``project`` and ``asset``, or all if they are empty.

    ``ask`` is given calls that ask for a listing. What is deleted meanwhile is left out.
    Raises :class:`~gobbler.errors.Missing` if ``project`` or ``asset`` is not there.
    """

    def __init__(
        self,
        client: Overseeing,
        project: str,
        asset: str,
        ask: Callable[[Callable[[], list[str]]], list[str]],
    ) -> None:
        self._client = client
        self._ask = ask
        self.odd: list[Odd] = []
        self.projects = [project] if project else self._named(client.projects)
        self.assets: list[AssetKey] = []
        for each in self.projects:
            if asset:
                self.assets.append(AssetKey.checked(each, asset))
            else:
                self.assets += self._assets(each, is_sure=not project)

    def _assets(self, project: str, *, is_sure: bool) -> Iterator[AssetKey]:
        names = self._named(partial(self._client.assets, project), project, is_sure=is_sure)
        return (AssetKey(project, name) for name in names)

    def versions(self) -> list[VersionKey]:
        """The versions in ``assets``."""
        return [
            key.version(name)
            for key in self.assets
            for name in self._named(
                partial(self._client.versions, key.project, key.asset),
                key.project,
                key.asset,
                is_sure=len(self.assets) > 1,
            )
        ]

    def _named(
        self, listing: Callable[[], list[str]], *above: str, is_sure: bool = False
    ) -> list[str]:
        """The valid names of a listing; nothing if ``is_sure`` that it was there before."""
        try:
            found = self._ask(listing)
        except Missing:
            if not is_sure:
                raise
            return []
        for name in found:
            if (problem := name_problem(name)) is not None:
                # Bytes that are not UTF-8 could neither be printed nor written as JSON.
                told = name.encode("utf-8", "backslashreplace").decode()
                project, asset, version = (*above, told, "", "")[:3]
                self.odd.append(Odd(project, asset, version, f"its name {problem}"))
        return [name for name in found if name_problem(name) is None]


class Stored(NamedTuple):
    """Files of a version, and bytes in them, that are no links."""

    files: int
    bytes: int


class Overseeing:
    """What bulk operations need of the registry and the service of a connection."""

    def __init__(self, reader: RegistryReader) -> None:
        self._connection = reader.connection
        self.url = reader.connection.url
        self.request = reader.connection.request
        self.start = reader.connection.start

    @property
    def _source(self) -> Source:
        return self._connection.source

    def projects(self) -> list[str]:
        """Names of all projects."""
        return names(self._source, ".")

    def assets(self, project: str) -> list[str]:
        """Names of the assets of a project."""
        return names(self._source, project)

    def versions(self, project: str, asset: str) -> list[str]:
        """Names of the versions of an asset, those on probation too."""
        return names(self._source, f"{project}/{asset}")

    def _registry_of(self) -> tuple[str | None, str]:
        """The address of the service, and the registry as it tells of it: which one is meant.

        Asks the service, so that a wrong address is found out at once.
        """
        if self.url:
            return self._connection.http.url, self._connection.info().registry
        return None, os.path.realpath(self._connection.registry)

    def _version_stamp(self, key: VersionKey) -> str:
        """What tells the version from another of the same name; never from the cache."""
        try:
            return stamp(decode(self._source.read(key.summary), Summary, key.summary))
        except Unreachable:
            raise
        except (GobblerError, OSError):
            return ""

    def _stored(self, key: VersionKey) -> Stored | None:
        """What is stored in a version, if its manifest can be read; never from the cache."""
        try:
            manifest = decode_manifest(self._source.read(key.manifest), key.manifest)
        except Unreachable:
            raise
        except (GobblerError, OSError):
            return None
        sizes = [e.size for e in manifest.values() if e.link is None and not e.is_directory]
        return Stored(len(sizes), sum(sizes))

    def _was_deleted(self, error: RequestFailed, *names: str) -> bool:
        """Whether ``error`` is because the project, asset or version is not there any more."""
        return isinstance(error, RequestMissing) and not self._is_there(*names)

    def _is_there(self, *names: str) -> bool:
        *above, name = names
        try:
            return name in self._source.directories("/".join(above) or ".")
        except GobblerError as error:
            if isinstance(error, Unreachable):
                raise
            return False


def problems_in(error: RequestFailed) -> tuple[str, ...]:
    """What an error tells about that of which the request was.

    Raises it if it is not about that: if nobody answered, or the user may do nothing of the kind.
    """
    if isinstance(error, RequestForbidden | Unreachable):
        raise error
    return tuple(error.problems) or (error.reason,)
