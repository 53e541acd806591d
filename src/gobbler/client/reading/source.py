"""The same reads, whichever way they go.

A :class:`Source` knows how to list a directory and read a file; there is one for a
registry on this filesystem (:mod:`~gobbler.client.reading.local`) and one for HTTP
(:mod:`~gobbler.client.reading.remote`). What the files mean is told here, once.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from gobbler.client.errors import RequestFailed
from gobbler.client.paths import is_below
from gobbler.errors import Missing
from gobbler.names import (
    AssetKey,
    VersionKey,
    check_name,
    has_internal,
    is_internal,
    project_permissions,
    project_usage,
)
from gobbler.records import Latest, Permissions, Usage, decode

T = TypeVar("T")


class Source(Protocol):
    """A way to read a registry. Paths are relative to it; ``"."`` is the registry itself.

    All raise :class:`~gobbler.errors.Missing` when ``path`` is not there.
    """

    def directories(self, path: str) -> list[str]:
        """Names of the directories in ``path``, internal ones too."""

    def walk(self, path: str) -> list[str]:
        """Paths, relative to ``path``, of every file below it.

        Directories that hold nothing at all are listed too, with a slash at the end.
        """

    def read(self, path: str) -> bytes:
        """The content of the file ``path``."""


def names(source: Source, path: str) -> list[str]:
    """Names of the projects, assets or versions in ``path``, in order."""
    return sorted(name for name in source.directories(path) if not is_internal(name))


def files(source: Source, version: VersionKey, prefix: str, *, internal: bool) -> list[str]:
    """Paths in ``version`` that start with ``prefix``, in order.

    Empty directories end with a slash. ``internal`` tells whether to include paths with
    a component that belongs to the service.
    """
    found = _below_prefix(source, version, prefix)
    return sorted(
        path for path in found if path.startswith(prefix) and (internal or not has_internal(path))
    )


def _below_prefix(source: Source, version: VersionKey, prefix: str) -> list[str]:
    """What is in ``version``, at least all that starts with ``prefix``."""
    directory = prefix.rpartition("/")[0]
    if is_below(directory):
        # Only a part of a version that may be huge.
        try:
            found = source.walk(version.file(directory))
        except (Missing, RequestFailed):
            # A file, or no such directory; or no such version, which the full listing will say.
            pass
        else:
            return [f"{directory}/{path}" for path in found] or [f"{directory}/"]
    return source.walk(version.path)


def latest(source: Source, asset: AssetKey) -> str | None:
    """The name of the latest version of ``asset``, ``None`` if there is none."""
    record = _read_or_none(source, asset.latest, Latest)
    return None if record is None else record.version


def permissions(source: Source, project: str, asset: str | None = None) -> Permissions:
    """The permissions of a project, or those that an asset has of its own; maybe none."""
    if asset is None:
        return _read(source, project_permissions(check_name("project", project)), Permissions)
    own = AssetKey.checked(project, asset).permissions
    return _read_or_none(source, own, Permissions) or Permissions()


def usage(source: Source, project: str) -> int:
    """Bytes that the unlinked files of a project take."""
    return _read(source, project_usage(project), Usage).total


def _read(source: Source, path: str, kind: type[T]) -> T:
    return decode(source.read(path), kind, path)


def _read_or_none(source: Source, path: str, kind: type[T]) -> T | None:
    try:
        return _read(source, path, kind)
    except Missing:
        return None
