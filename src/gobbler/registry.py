"""Reading a registry that is on this filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

from gobbler.disk.opening import is_there, read_file
from gobbler.errors import Missing, quoted
from gobbler.names import (
    AssetKey,
    VersionKey,
    is_internal,
    project_permissions,
    project_usage,
)
from gobbler.records import (
    Latest,
    Manifest,
    Permissions,
    Summary,
    Usage,
    decode,
    decode_manifest,
)

T = TypeVar("T")


Stamp = tuple[int, int]
"""The inode of a file and the time in ns at which it was written."""


class Registry:
    """A registry below the directory ``root``.

    Reading raises :class:`~gobbler.errors.Missing` for what is not there and
    :class:`~gobbler.errors.Fault`, naming the file and the place in it, for what is damaged.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, relative: str) -> str:
        """The absolute path of ``relative``, a path made by :mod:`gobbler.names`."""
        return f"{self.root}/{relative}"

    def _read(self, relative: str, kind: type[T]) -> T:
        return decode(read_file(self.path(relative), relative), kind, relative)

    def _read_or_none(self, relative: str, kind: type[T]) -> T | None:
        try:
            return self._read(relative, kind)
        except Missing:
            return None

    def permissions(self, project: str) -> Permissions:
        """The permissions of a project."""
        try:
            return self._read(project_permissions(project), Permissions)
        except Missing:
            if self.has(project):
                raise
            raise Missing(f"project {quoted(project)} does not exist") from None

    def asset_permissions(self, asset: AssetKey) -> Permissions | None:
        """The permissions of an asset, if it has any of its own."""
        return self._read_or_none(asset.permissions, Permissions)

    def usage(self, project: str) -> Usage:
        """The recorded usage of a project."""
        return self._read(project_usage(project), Usage)

    def latest(self, asset: AssetKey) -> str | None:
        """The name of the recorded latest version, if there is one."""
        found = self._read_or_none(asset.latest, Latest)
        return None if found is None else found.version

    def summary(self, key: VersionKey) -> Summary:
        """The summary of a version."""
        return self._read(key.summary, Summary)

    def manifest(self, key: VersionKey) -> Manifest:
        """The manifest of a version."""
        return decode_manifest(read_file(self.path(key.manifest), key.manifest), key.manifest)

    def has(self, relative: str) -> bool:
        """Whether anything stands at ``relative``, whatever it is."""
        return is_there(self.path(relative))

    def stamp(self, relative: str) -> Stamp:
        """What tells one state of a file from another; zeros if it is not there."""
        try:
            status = os.stat(self.path(relative))
        except (FileNotFoundError, NotADirectoryError):
            return 0, 0
        return status.st_ino, status.st_mtime_ns

    def projects(self) -> Iterator[str]:
        """The names of all projects."""
        return self._directories("")

    def assets(self, project: str) -> Iterator[AssetKey]:
        """The keys of a project's assets."""
        return (AssetKey(project, name) for name in self._directories(project))

    def versions(self, asset: AssetKey) -> Iterator[VersionKey]:
        """The keys of an asset's versions."""
        return (asset.version(name) for name in self._directories(asset.path))

    def _directories(self, relative: str) -> Iterator[str]:
        with os.scandir(self.path(relative)) as entries:
            names = [
                entry.name
                for entry in entries
                if not is_internal(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
        return iter(sorted(names))
