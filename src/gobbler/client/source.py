"""Sources: one interface to read a registry, through a directory or over HTTP.

:class:`LocalSource` reads a registry that is mounted on this machine, :class:`RemoteSource` asks
the service. The functions decode what any source reads.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct

from gobbler.client import errors
from gobbler.client.address import is_below, listed_name, listed_paths
from gobbler.client.errors import NotThere
from gobbler.client.http import Http
from gobbler.errors import Code, Fault, Missing, Refused, quoted
from gobbler.fs.open import kind_of
from gobbler.fs.record_file import read_file
from gobbler.model.names import (
    INCOMING,
    LOGS,
    USAGE,
    AssetKey,
    VersionKey,
    check_name,
    has_internal,
    is_internal,
    name_problem,
    project_permissions,
    project_usage,
)
from gobbler.model.records import Latest, Permissions, Usage, decode

T = TypeVar("T")


class Listing(NamedTuple):
    """The names of the directories in a directory, and those of everything else there."""

    directories: list[str]
    files: list[str]


class Source(Protocol):
    """A way to read a registry. Paths are relative to it; ``"."`` is the registry itself.

    All raise :class:`~gobbler.errors.Missing` when ``path`` is not there.
    """

    def listing(self, path: str) -> Listing:
        """Names of what is in ``path``, internal ones too."""

    def walk(self, path: str) -> list[str]:
        """Paths, relative to ``path``, of every file below it.

        Also lists empty directories, with a slash at the end.
        """

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""


def names(source: Source, path: str) -> list[str]:
    """Names of the projects, assets or versions in ``path``, in order."""
    found = source.listing(path).directories
    return sorted(name for name in found if not is_internal(name))


def files(source: Source, version: VersionKey, prefix: str, *, internal: bool) -> list[str]:
    """Paths in ``version`` that start with ``prefix``, in order.

    Empty directories end with a slash. ``internal`` includes the service's own files.
    """
    found = _below_prefix(source, version, prefix)
    return sorted(
        path for path in found if path.startswith(prefix) and (internal or not has_internal(path))
    )


def _below_prefix(source: Source, version: VersionKey, prefix: str) -> list[str]:
    """Paths in ``version``: at least all that start with ``prefix``."""
    directory = prefix.rpartition("/")[0]
    if is_below(directory):
        # Only a part of a version that may be huge.
        try:
            found = source.walk(version.file(directory))
        except Missing:
            pass  # a file, no such directory, or no such version: the full listing decides
        except errors.RequestFailed:
            pass  # the same, from the Go service
        else:
            return [f"{directory}/{path}" for path in found] or [f"{directory}/"]
    return source.walk(version.path)


def latest(source: Source, asset: AssetKey) -> str | None:
    """The name of the latest version of ``asset``, ``None`` if there is none.

    Raises :class:`~gobbler.errors.Fault` if the record names what can't be a version.
    """
    record = _read_or_none(source, asset.latest, Latest)
    if record is None:
        return None
    problem = name_problem(record.version)
    if problem is not None:
        raise Fault(
            f"{asset.latest} is damaged: {quoted(record.version)} {problem}",
            code=Code.DAMAGED_RECORD,
            hint=f"Ask an administrator of the service to run: gobbler refresh {asset}",
        )
    return record.version


def permissions(source: Source, project: str, asset: str | None = None) -> Permissions:
    """The permissions of a project, or those of an asset of its own, which may be empty."""
    if asset is None:
        return _read(source, project_permissions(check_name("project", project)), Permissions)
    own = AssetKey.checked(project, asset).permissions
    return _read_or_none(source, own, Permissions) or Permissions()


def usage(source: Source, project: str) -> int:
    """Bytes that a project uses; links use none."""
    return _read(source, project_usage(project), Usage).total


def _read(source: Source, path: str, kind: type[T]) -> T:
    return decode(source.read(path), kind, path)


def _read_or_none(source: Source, path: str, kind: type[T]) -> T | None:
    try:
        return _read(source, path, kind)
    except Missing:
        return None


class ServiceInfo(Struct, frozen=True):
    """The directories of a service: the paths of staging and of the registry."""

    staging: str
    registry: str


class RemoteSource:
    """The registry of the service behind ``http``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def listing(self, path: str) -> Listing:
        """Names of what is in ``path``, internal ones too."""
        where = {} if path == "." else {"path": path}
        listed = self._http.get("/list", list[str], where)
        return Listing(
            [listed_name(name[:-1]) for name in listed if name.endswith("/")],
            [listed_name(name) for name in listed if not name.endswith("/")],
        )

    def walk(self, path: str) -> list[str]:
        """Relative paths of every file below ``path``, and of empty directories."""
        listed = self._http.get("/list", list[str], {"path": path, "recursive": "true"})
        return listed_paths(listed)

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""
        return self._http.read(path)


NO_REGISTRY = "Pass the directory that the service uses as --registry; see: gobbler info"


_KINDS = (
    ("project", Code.PROJECT_NOT_FOUND),
    ("asset", Code.ASSET_NOT_FOUND),
    ("version", Code.VERSION_NOT_FOUND),
    ("file", Code.FILE_NOT_FOUND),
)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()  # a project may be a link to another disk
    except OSError:
        return False  # a link to itself, or into a directory that is closed


class LocalSource:
    """The registry in the directory ``root``, read without a service."""

    def __init__(self, root: str) -> None:
        self.root = root

    def listing(self, path: str) -> Listing:
        """Names of what is in ``path``, internal ones too.

        Raises :class:`~gobbler.errors.Refused` if ``path`` is ``"."`` and the root is no registry.
        """
        listing = Listing([], [])
        try:
            with os.scandir(self._join(path)) as entries:
                for entry in entries:
                    listing[0 if _is_directory(entry) else 1].append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(path) from None
        found = listing.directories
        if path == "." and found and not self._is_registry(found):
            raise Refused(
                f"{self.root} is not a registry: no directory in it is a project",
                code=Code.MISCONFIGURED,
                hint=NO_REGISTRY,
            )
        return listing

    def _is_registry(self, names: list[str]) -> bool:
        # A copy of some projects has no other files of the service. Permissions prove nothing.
        return any(
            name in (LOGS, INCOMING) or os.path.exists(self._join(f"{name}/{USAGE}"))
            for name in names
        )

    def walk(self, path: str) -> list[str]:
        """Relative paths of every file below ``path``, and of empty directories."""
        found: list[str] = []
        pending = [""]
        while pending:
            directory = pending.pop()
            try:
                with os.scandir(self._join(f"{path}/{directory}")) as entries:
                    listed = [
                        (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
                    ]
            except (FileNotFoundError, NotADirectoryError):
                raise self._missing(path) from None
            except OSError as error:
                if not directory:
                    raise
                import logging

                place = quoted(f"{path}/{directory}")
                logging.getLogger(__name__).warning("could not list %s: %s", place, error)
                listed = []
            if directory and not listed:
                found.append(directory)
            for name, is_directory in listed:
                if is_directory:
                    pending.append(f"{directory}{name}/")
                else:
                    found.append(f"{directory}{name}")
        return found

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""
        try:
            return read_file(self._find(path)[0], path)
        except Missing:
            raise self._missing(path) from None

    def file(self, path: str) -> str:
        """The path of the file ``path`` on this machine.

        Raises :class:`~gobbler.errors.Fault` for a FIFO or a device: reading it may never end.
        """
        full, mode = self._find(path)
        if not stat.S_ISREG(mode):
            raise Fault(
                f"{quoted(path)} in the registry {self.root} is {kind_of(mode)}, not a file",
                code=Code.NOT_A_FILE,
            )
        return full

    def _find(self, path: str) -> tuple[str, int]:
        """The path and the mode of what is at ``path``, no directory."""
        full = self._join(path)
        try:
            mode = os.stat(full).st_mode
        except OSError:
            raise self._missing(path) from None
        if stat.S_ISDIR(mode):
            raise Refused(
                f"{quoted(path)} is a directory, not a file",
                code=Code.NOT_A_FILE,
                hint=f"List what is in it: gobbler ls {path}",
            )
        return full, mode

    def directory(self, path: str) -> str:
        """The path of the directory ``path`` on this machine."""
        full = self._join(path)
        if not os.path.exists(full):
            raise self._missing(path)
        if not os.path.isdir(full):
            raise Refused(
                f"{quoted(path)} is a file, not a directory",
                code=Code.NOT_A_DIRECTORY,
                hint=f"Fetch the file: gobbler fetch {path}",
            )
        return full

    def _join(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _missing(self, path: str) -> NotThere:
        """The error that names the first component of ``path`` that is not there."""
        parts = path.split("/")
        here = self.root
        for depth, part in enumerate(parts):
            here = os.path.join(here, part)
            if not os.path.exists(here):
                what, code = _KINDS[3 if part.startswith("..") else min(depth, 3)]
                name = quoted("/".join(parts[: depth + 1]))
                reason = f"{what} {name} is not in the registry {self.root}"
                above = "/".join(parts[:depth])
                hint = f"List what is there: gobbler ls {above}".rstrip()
                return NotThere(reason, self._join(path), code=code, hint=hint)
        return NotThere(f"{quoted(path)} is not in the registry {self.root}", self._join(path))
