"""Read a registry on this filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

from gobbler.errors import Code, Missing, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.open import DIRECTORY, closing, exists, open_directory, read_file
from gobbler.fs.os_errors import with_path
from gobbler.model.names import (
    MANIFEST,
    AssetKey,
    VersionKey,
    is_internal,
    project_permissions,
    project_usage,
)
from gobbler.model.records import (
    Latest,
    Manifest,
    Permissions,
    Summary,
    Usage,
    decode,
    decode_manifest,
)

T = TypeVar("T")


class Registry:
    """A registry below the directory ``root``.

    Its methods raise :class:`~gobbler.errors.Missing` for a record that does not exist, and
    :class:`~gobbler.errors.Fault`, with the file and the place in it, for a damaged one.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, relative: str) -> str:
        """The absolute path of ``relative``, a path made by :mod:`gobbler.model.names`."""
        return f"{self.root}/{relative}"

    def _read(self, relative: str, kind: type[T]) -> T:
        data = read_file(self.path(relative), relative)
        return decode(data, kind, relative)

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
            raise Missing(
                f"project {quoted(project)} does not exist", code=Code.PROJECT_NOT_FOUND
            ) from None

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
        data = read_file(self.path(key.manifest), key.manifest)
        return decode_manifest(data, key.manifest)

    def manifest_with_fingerprint(self, key: VersionKey) -> tuple[Fingerprint, bytes]:
        """The fingerprint of a version's manifest, and the content that was read with it."""
        path = self.path(key.manifest)
        try:
            with with_path(path), open(path, "rb") as handle:
                return Fingerprint.of(os.fstat(handle.fileno())), handle.read()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"{key.manifest} does not exist", code=Code.FILE_NOT_FOUND) from None

    def has(self, relative: str) -> bool:
        """Whether ``relative`` exists, as anything."""
        return exists(self.path(relative))

    def fingerprint(self, relative: str) -> Fingerprint:
        """The fingerprint of a file; all zeros if it does not exist."""
        try:
            status = os.stat(self.path(relative))
        except (FileNotFoundError, NotADirectoryError):
            return Fingerprint(0, 0, 0)
        return Fingerprint.of(status)

    def fingerprints(self, *within: str) -> dict[VersionKey, Fingerprint]:
        """The fingerprint of the manifest of each version, in the order of their keys.

        ``within``: a project, or a project and one of its assets; by default, all of them.
        A directory without a manifest is no version: another service may have left it.
        Makes one ``stat`` for each version.
        """
        found: dict[VersionKey, Fingerprint] = {}
        with closing(open_directory(self.root)) as top:
            for project, assets in _inside(top, self.root, within[:1]):
                for asset, versions in _inside(assets, self.path(project), within[1:]):
                    with with_path(self.path(f"{project}/{asset}")):
                        for version in _names(versions):
                            try:
                                status = os.stat(f"{version}/{MANIFEST}", dir_fd=versions)
                            except (FileNotFoundError, NotADirectoryError):
                                continue
                            found[VersionKey(project, asset, version)] = Fingerprint.of(status)
        return found

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
        return iter(_names(self.path(relative)))


def _names(directory: str | int) -> list[str]:
    """The names of the directories in ``directory`` that are not internal, in order."""
    with os.scandir(directory) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not is_internal(entry.name) and entry.is_dir(follow_symlinks=False)
        )


def _inside(parent: int, path: str, only: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The directories in the open ``parent``: the name, and a descriptor that is closed next."""
    with with_path(path):
        names = only or _names(parent)
    for name in names:
        try:
            with with_path(f"{path}/{name}"):
                descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            continue  # just removed
        with closing(descriptor):
            yield name, descriptor
