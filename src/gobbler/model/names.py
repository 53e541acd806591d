"""Valid names, and the paths of everything in a registry.

::

    registry/
        ..LOCK  ..LOCK_NEWDIR
        ..logs/{time}_{six digits}
        ..incoming/{workspace}/             versions that are being built
        ..reserve/                          space for removals on a full disk
        {project}/
            ..permissions  ..usage  ..quota  ..LOCK  ..LOCK_NEWDIR  ..LOCK_USAGE
            {asset}/
                ..permissions  ..latest  ..LOCK
                {version}/
                    ..summary  ..manifest
                    {dir}/..links

Only this module joins paths of the registry. They are relative to it and use ``/``, so they
are valid on disk and in URLs.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

from gobbler.errors import Code, Refused, quoted

MAX_NAME_BYTES = 255
"""Longest name of a project, asset, version or file, in bytes of UTF-8 (ext4, XFS, NFS)."""

_TOO_LONG = f"is longer than {MAX_NAME_BYTES} bytes"

INTERNAL_PREFIX = ".."
"""Prefix of internal names, which users can neither upload nor name."""

LOCK = "..LOCK"
LOCK_NEWDIR = "..LOCK_NEWDIR"
LOCK_USAGE = "..LOCK_USAGE"
PERMISSIONS = "..permissions"
USAGE = "..usage"
QUOTA = "..quota"
LATEST = "..latest"
SUMMARY = "..summary"
MANIFEST = "..manifest"
LINKS = "..links"
LOGS = "..logs"
INCOMING = "..incoming"
RESERVE = "..reserve"

LOST_AND_FOUND = "lost+found"
"""The directory that filesystems make for what a check of them finds."""


def is_internal(name: str) -> bool:
    """Whether ``name`` (one path component) belongs to the service."""
    return name.startswith(INTERNAL_PREFIX)


def has_internal(path: str) -> bool:
    """Whether any component of the relative ``path`` belongs to the service."""
    return path.startswith(INTERNAL_PREFIX) or "/" + INTERNAL_PREFIX in path


def name_problem(name: str) -> str | None:
    """The problem with ``name`` for a project, asset or version; ``None`` if it is valid."""
    # Its length comes first: what is kept below must not be as long as a user likes.
    return _TOO_LONG if len(name) > MAX_NAME_BYTES else _name_problem(name)


@functools.lru_cache(1024)  # the links of a version name few versions, again and again
def _name_problem(name: str) -> str | None:
    if name == "":
        return "is empty"
    if "/" in name or "\\" in name:
        return "contains a slash or a backslash"
    if is_internal(name):
        return "starts with '..', which is kept for the service's own files"
    if name == ".":
        return "is '.', which means the directory itself"
    return file_name_problem(name)


def file_name_problem(name: str) -> str | None:
    """The problem with ``name`` for a file or directory of a version; ``None`` if it is valid."""
    if len(name) > MAX_NAME_BYTES:
        return _TOO_LONG
    # str.isprintable is one pass in C; almost every name ends here.
    if not name.isprintable() and (problem := _character_problem(name)):
        return problem
    if len(name) * 4 > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        return _TOO_LONG
    return None


def _character_problem(name: str) -> str | None:
    for char in name:
        category = unicodedata.category(char)
        if category == "Cc":
            return "contains a control character"
        if category == "Cs":
            return "is not valid UTF-8"
    return None


def check_name(what: str, name: str) -> str:
    """``name`` itself if it is valid for ``what`` ("project", "asset" or "version").

    Raises :class:`~gobbler.errors.Refused` that names the field and the problem.
    """
    problem = name_problem(name)
    if problem is not None:
        raise Refused(f"invalid {what} name {quoted(name)}: it {problem}", code=Code.INVALID_NAME)
    return name


class AssetKey(NamedTuple):
    """The address of an asset. Not validated: see :meth:`checked`."""

    project: str
    asset: str

    @classmethod
    def checked(cls, project: str, asset: str) -> AssetKey:
        """The key, if both names are valid; otherwise :class:`~gobbler.errors.Refused`."""
        return cls(check_name("project", project), check_name("asset", asset))

    @property
    def path(self) -> str:
        """``project/asset``."""
        return f"{self.project}/{self.asset}"

    @property
    def latest(self) -> str:
        """Path of the record of the latest version."""
        return f"{self.path}/{LATEST}"

    @property
    def permissions(self) -> str:
        """Path of the asset's own permissions."""
        return f"{self.path}/{PERMISSIONS}"

    def version(self, version: str) -> VersionKey:
        """The key of one version of this asset."""
        return VersionKey(self.project, self.asset, version)

    def __str__(self) -> str:
        return self.path


class VersionKey(NamedTuple):
    """The address of a version. Not validated: see :meth:`checked`."""

    project: str
    asset: str
    version: str

    @classmethod
    def checked(cls, project: str, asset: str, version: str) -> VersionKey:
        """The key, if all names are valid; otherwise :class:`~gobbler.errors.Refused`."""
        return cls(
            check_name("project", project),
            check_name("asset", asset),
            check_name("version", version),
        )

    @property
    def of_asset(self) -> AssetKey:
        """The key of the asset that this is a version of."""
        return AssetKey(self.project, self.asset)

    @property
    def path(self) -> str:
        """``project/asset/version``."""
        return f"{self.project}/{self.asset}/{self.version}"

    @property
    def summary(self) -> str:
        """Path of the summary."""
        return f"{self.path}/{SUMMARY}"

    @property
    def manifest(self) -> str:
        """Path of the manifest."""
        return f"{self.path}/{MANIFEST}"

    def file(self, path: str) -> str:
        """Path of one file of this version, ``path`` being relative to the version."""
        return f"{self.path}/{path}"

    def __str__(self) -> str:
        return self.path


def project_permissions(project: str) -> str:
    """Path of a project's permissions."""
    return f"{project}/{PERMISSIONS}"


def project_usage(project: str) -> str:
    """Path of a project's usage."""
    return f"{project}/{USAGE}"


def project_quota(project: str) -> str:
    """Path of a project's quota."""
    return f"{project}/{QUOTA}"


def split_path(path: str) -> tuple[VersionKey, str] | None:
    """Cut ``project/asset/version/path/of/file`` into its version and the path in it.

    The path in the version is empty for ``project/asset/version`` itself.
    ``None`` if there are fewer than three components or one of the names is not valid.
    """
    parts = path.split("/", 3)
    if len(parts) < 3 or any(name_problem(part) for part in parts[:3]):
        return None
    return VersionKey(parts[0], parts[1], parts[2]), parts[3] if len(parts) == 4 else ""
