"""Read a registry on this filesystem."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import TypeVar

from gobbler.errors import Code, Fault, Missing, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.open import DIRECTORY, closing, exists, open_directory
from gobbler.fs.os_errors import fault_at, raising_fault, with_path
from gobbler.fs.record_file import read_file, read_record
from gobbler.fs.reserve import Reserve
from gobbler.model.names import (
    LATEST,
    LINKS,
    MANIFEST,
    PERMISSIONS,
    RESERVE,
    SUMMARY,
    USAGE,
    AssetKey,
    VersionKey,
    is_internal,
    project_permissions,
    project_usage,
)
from gobbler.model.records import (
    Latest,
    Link,
    Links,
    Manifest,
    Permissions,
    Summary,
    Usage,
    decode,
    decode_manifest,
)
from gobbler.registry.foreign import skip

T = TypeVar("T")


class Registry:
    """A registry below the directory ``root``.

    Its methods raise :class:`~gobbler.errors.Missing` for a record that does not exist, and
    :class:`~gobbler.errors.Fault`, with the file and the place in it, for one that is damaged or
    can't be read. What lists projects, assets or versions skips entries that are nobody's, see
    :mod:`gobbler.registry.foreign`.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.reserve = Reserve(self.path(RESERVE))

    def path(self, relative: str) -> str:
        """The absolute path of ``relative``, a path made by :mod:`gobbler.model.names`."""
        return f"{self.root}/{relative}"

    def _content(self, relative: str) -> bytes:
        with raising_fault("read", self.path(relative)):
            return read_file(self.path(relative), relative)

    def _read(self, relative: str, kind: type[T]) -> T:
        try:
            return decode(self._content(relative), kind, relative)
        except Fault as error:
            raise _with_repair(error, relative) from None

    def _of_project(self, project: str, relative: str, kind: type[T]) -> T:
        """A record that every project has."""
        try:
            return self._read(relative, kind)
        except Missing:
            if not self.has(project):
                raise Missing(
                    f"project {quoted(project)} does not exist", code=Code.PROJECT_NOT_FOUND
                ) from None
            lost = Fault(f"{relative} does not exist, but should", code=Code.DAMAGED_RECORD)
            raise _with_repair(lost, relative) from None

    def _read_or_none(self, relative: str, kind: type[T]) -> T | None:
        try:
            return self._read(relative, kind)
        except Missing:
            return None

    def permissions(self, project: str) -> Permissions:
        """The permissions of a project."""
        return self._of_project(project, project_permissions(project), Permissions)

    def asset_permissions(self, asset: AssetKey) -> Permissions | None:
        """The permissions of an asset, if it has any of its own."""
        return self._read_or_none(asset.permissions, Permissions)

    def usage(self, project: str) -> Usage:
        """The recorded usage of a project."""
        return self._of_project(project, project_usage(project), Usage)

    def latest(self, asset: AssetKey) -> str | None:
        """The name of the recorded latest version, if there is one."""
        found = self._read_or_none(asset.latest, Latest)
        return None if found is None else found.version

    def summary(self, key: VersionKey) -> Summary:
        """The summary of a version."""
        return self._read(key.summary, Summary)

    def summary_with_time(self, key: VersionKey) -> tuple[Summary, int]:
        """The summary of a version, and when its file was changed last, in ns since the epoch."""
        path = self.path(key.summary)
        with raising_fault("read", path):
            status, content = read_record(path, key.summary)
        try:
            return decode(content, Summary, key.summary), status.st_mtime_ns
        except Fault as error:
            raise _with_repair(error, key.summary) from None

    def manifest(self, key: VersionKey) -> Manifest:
        """The manifest of a version."""
        try:
            return decode_manifest(self._content(key.manifest), key.manifest)
        except Fault as error:
            raise _with_repair(error, key.manifest) from None

    def manifest_with_fingerprint(self, key: VersionKey) -> tuple[Fingerprint, bytes]:
        """The fingerprint of a version's manifest, and the content that was read with it."""
        path = self.path(key.manifest)
        try:
            status, content = read_record(path, key.manifest)
        except OSError as error:
            raise fault_at(error, "read", path) from error
        return Fingerprint.of(status), content

    def links(self, relative: str) -> Links:
        """The links in ``relative``, the ``..links`` of a directory of a version."""
        return self._read(relative, dict[str, Link])

    def has(self, relative: str) -> bool:
        """Whether ``relative`` exists, as anything."""
        return exists(self.path(relative))

    def has_record(self, relative: str) -> bool:
        """Whether the record ``relative`` exists, in a directory that is not foreign."""
        try:
            return self.has(relative)
        except OSError as error:
            skip(os.path.dirname(self.path(relative)), error)
            return False

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
        A directory without a manifest is no version: another service may have left it. Skips
        foreign entries. Makes one ``stat`` for each version.
        """
        found: dict[VersionKey, Fingerprint] = {}
        with closing(open_directory(self.root)) as top:
            for project, assets in _inside(top, self.root, within[:1]):
                for asset, versions in _inside(assets, self.path(project), within[1:]):
                    path = self.path(f"{project}/{asset}")
                    for version in _names(versions, path):
                        try:
                            status = os.stat(f"{version}/{MANIFEST}", dir_fd=versions)
                        except FileNotFoundError:
                            continue
                        except OSError as error:
                            with with_path(f"{path}/{version}/{MANIFEST}"):
                                skip(f"{path}/{version}", error)
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
        path = self.path(relative) if relative else self.root
        try:
            return iter(_names(path, path))
        except FileNotFoundError:
            if not relative:
                raise
            return iter(())  # just removed
        except OSError as error:
            if not relative:
                raise
            skip(path, error)
            return iter(())


def _with_repair(error: Fault, relative: str) -> Fault:
    """The same fault of the record ``relative``, with the command that repairs it as a hint."""
    names, _, record = relative.rpartition("/")
    place = shlex.quote("/".join(names.split("/")[:3]))
    command = {
        PERMISSIONS: f"gobbler permissions set {place} --owner USER",
        USAGE: f"gobbler refresh usage {place}",
        LATEST: f"gobbler refresh latest {place}",
        MANIFEST: f"gobbler reindex {place}",
        LINKS: f"gobbler reindex {place}",
        SUMMARY: f"gobbler delete {place} --force",
    }.get(record)
    if command is None or error.hint or error.code is not Code.DAMAGED_RECORD:
        return error
    what = "removes the version" if record == SUMMARY else "repairs it"
    return Fault(error.reason, code=error.code, hint=f"An administrator {what}: {command}")


def _names(directory: str | int, path: str) -> list[str]:
    """The names of the directories in ``directory`` that are not internal, in order.

    ``path`` is its path.
    """
    with with_path(path), os.scandir(directory) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not is_internal(entry.name) and entry.is_dir(follow_symlinks=False)
        )


def _inside(parent: int, path: str, only: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The directories in the open ``parent``: the name, and a descriptor that is closed next."""
    for name in only or _names(parent, path):
        try:
            with with_path(f"{path}/{name}"):
                descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            continue  # just removed
        except OSError as error:
            skip(f"{path}/{name}", error)
            continue
        with closing(descriptor):
            yield name, descriptor
