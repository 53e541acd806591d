"""Reading a registry: the calls of a client that change nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from gobbler.client import source
from gobbler.client.calls.site import Site, StrPath
from gobbler.client.export import clone
from gobbler.client.paths import registry_path
from gobbler.errors import Fault, Refused
from gobbler.model.names import AssetKey, VersionKey, check_name
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Manifest, Permissions, Summary, decode, decode_manifest

T = TypeVar("T")


def _decode_summary(data: bytes, path: str) -> Summary:
    return decode(data, Summary, path)


class Reads(Site):
    """What anybody may ask of a registry."""

    def directories(self, path: str = ".") -> list[str]:
        """Names of the directories in ``path`` (``"."``: the registry), internal ones too."""
        where = path if path == "." else registry_path(path)
        return sorted(self._source.directories(where))

    def projects(self) -> list[str]:
        """Names of all projects."""
        return source.names(self._source, ".")

    def assets(self, project: str) -> list[str]:
        """Names of the assets of a project."""
        return source.names(self._source, check_name("project", project))

    def versions(self, project: str, asset: str) -> list[str]:
        """Names of the versions of an asset, those on probation too."""
        return source.names(self._source, AssetKey.checked(project, asset).path)

    def files(
        self, project: str, asset: str, version: str, *, prefix: str = "", internal: bool = True
    ) -> list[str]:
        """Paths in a version that start with ``prefix``; empty directories end with a slash.

        ``internal`` tells whether the service's own files are listed, too.
        """
        key = VersionKey.checked(project, asset, version)
        return source.files(self._source, key, prefix, internal=internal)

    def manifest(
        self, project: str, asset: str, version: str, *, overwrite: bool = False
    ) -> Manifest:
        """The manifest of a version.

        From the cache, when it was fetched before, unless ``overwrite``.
        """
        path = VersionKey.checked(project, asset, version).manifest
        return self._record(path, overwrite, decode_manifest)

    def summary(
        self, project: str, asset: str, version: str, *, overwrite: bool = False
    ) -> Summary:
        """The summary of a version.

        From the cache, when it was fetched before, unless ``overwrite``; but what was on
        probation is asked for again, since that will have an end.
        """
        path = VersionKey.checked(project, asset, version).summary
        summary = self._record(path, overwrite, _decode_summary)
        if summary.on_probation and not overwrite and self._local is None:
            summary = self._record(path, True, _decode_summary)
        return summary

    def _record(self, path: str, overwrite: bool, decode: Callable[[bytes, str], T]) -> T:
        """A record of the registry; one that is damaged in the cache is fetched again."""
        try:
            return decode(self._content(path, overwrite), path)
        except Fault:
            if overwrite or self._local is not None:
                raise
            return decode(self._content(path, overwrite=True), path)

    def _content(self, path: str, overwrite: bool) -> bytes:
        with open(self.fetch_file(path, overwrite=overwrite), "rb") as file:
            return file.read()

    def latest(self, project: str, asset: str) -> str | None:
        """The name of the latest version of an asset, ``None`` if it has none."""
        return source.latest(self._source, AssetKey.checked(project, asset))

    def permissions(self, project: str, asset: str | None = None) -> Permissions:
        """The permissions of a project, or those that an asset has of its own."""
        return source.permissions(self._source, project, asset)

    def usage(self, project: str) -> int:
        """Bytes that a project takes; links take none."""
        return source.usage(self._source, check_name("project", project))

    def fetch_file(
        self, path: str, *, overwrite: bool = False, progress: Progress | None = None
    ) -> str:
        """Where the registry's file ``path`` can be read on this machine.

        That is in the registry, not to be changed, or in the cache; there it has its name
        only when it is complete. With ``overwrite`` a cached copy is fetched again.
        """
        path = registry_path(path)
        if self._local is not None:
            return self._local.file(path)
        return self._cache.file(path, overwrite=overwrite, progress=progress or NoProgress())

    def fetch_directory(
        self,
        path: str,
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> str:
        """Where the registry's directory ``path`` can be read on this machine.

        Like :meth:`fetch_file`: a copy in the cache is complete, empty directories
        included, or not there at all. ``concurrent`` files are fetched at a time.
        """
        path = registry_path(path)
        if self._local is not None:
            return self._local.directory(path)
        return self._cache.directory(
            path, overwrite=overwrite, concurrent=concurrent, progress=progress or NoProgress()
        )

    def clone(self, project: str, asset: str, version: str, destination: StrPath) -> None:
        """Build the tree of a version at ``destination`` out of symlinks to its files.

        That is the cheap start of a new version: replace the links of files that change,
        and upload. Needs the registry on this machine. Raises ``FileExistsError`` when a
        file stands where a link should.
        """
        if self._local is None:
            raise Refused(
                f"the registry {self.registry} is not a directory on this machine",
                hint="A clone is made of links into the registry; fetch the version instead.",
            )
        key = VersionKey.checked(project, asset, version)
        clone(self.registry, key, self.manifest(project, asset, version), os.fspath(destination))
