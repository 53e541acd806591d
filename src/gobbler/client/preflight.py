"""The preflight check of an upload: what can be known before anything is copied."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gobbler.client import errors, source
from gobbler.client.connection import Connection
from gobbler.client.notices import LeftOut, NothingNew, NotKept, notify
from gobbler.errors import Code, GobblerError, Missing, quoted
from gobbler.model.names import VersionKey, is_internal
from gobbler.rules.upload_plan import Scan, executable_warning

ACTION = "check_upload"

NAMES_SHOWN = 5


def check_allowed(connection: Connection, key: VersionKey, spoof: str | None) -> None:
    """Raise what the service would answer to an upload of ``key``, if that is certain.

    A service that knows the action is asked. Of others, only what everybody can read is certain:
    they may have administrators, who may upload everywhere.
    """
    if connection.url and connection.knows(ACTION):
        connection.request(
            ACTION, project=key.project, asset=key.asset, version=key.version, spoof=spoof
        )
        return
    try:
        problem = _problem(connection, key) if connection.can_read else None
    except (GobblerError, OSError):
        return  # nothing is certain: the service decides
    if problem is not None:
        raise problem


LITTLE_FILES = 100
LITTLE_BYTES = 1 << 20
"""Files, and their bytes, up to which a copy takes no longer than to ask the service."""

LONG_SECONDS = 0.05
"""Seconds of a scan after which the service is asked before it goes on."""


class Preflight:
    """Asks a service whether it allows an upload: before much is copied, or a scan takes long.

    A small upload is refused by the service itself in the same instant, unless nobody waits for
    its answer. Also a :class:`~gobbler.model.progress.CancelToken` of the scan. Its methods raise
    what :func:`check_allowed` raises.
    """

    def __init__(
        self, connection: Connection, key: VersionKey, spoof: str | None, *, is_awaited: bool
    ) -> None:
        self._connection = connection
        self._is_awaited = is_awaited
        self._key = key
        self._spoof = spoof
        self._has_asked = False
        self._began = time.monotonic()

    def check(self) -> None:
        """Ask once the scan takes long."""
        if time.monotonic() - self._began > LONG_SECONDS:
            self._ask()

    def before_copy(self, scan: Scan) -> None:
        """Ask, unless there is little to copy and the answer is awaited."""
        is_much = len(scan.files) > LITTLE_FILES or sum(scan.files.values()) > LITTLE_BYTES
        if is_much or not self._is_awaited:
            self._ask()

    def _ask(self) -> None:
        if not self._has_asked:
            self._has_asked = True
            check_allowed(self._connection, self._key, self._spoof)


def check_version(connection: Connection, key: VersionKey) -> None:
    """Raise if the project of ``key`` is missing, or the version is there already."""
    problem = _problem(connection, key)
    if problem is not None:
        raise problem


def _problem(connection: Connection, key: VersionKey) -> GobblerError | None:
    registry = connection.source
    try:
        assets = source.names(registry, key.project)
    except Missing:
        return errors.RequestMissing(
            f"project {quoted(key.project)} does not exist",
            code=Code.PROJECT_NOT_FOUND,
            hint="List the projects: gobbler ls",
        )
    try:
        versions = source.names(registry, key.of_asset.path) if key.asset in assets else []
    except Missing:
        versions = []  # deleted at this moment
    if key.version not in versions:
        return None
    return errors.RequestRefused(
        f"version {quoted(key.version)} of {quoted(key.of_asset.path)} already exists",
        code=Code.VERSION_EXISTS,
        hint="Choose another name for the new version.",
    )


class Taken(NamedTuple):
    """How many files and links an upload takes, and the names that it leaves out."""

    files: int
    ignored: Sequence[str]

    @classmethod
    def of_scan(cls, scan: Scan) -> Taken:
        """What a scan found."""
        return cls(len(scan.files) + len(scan.symlinks), scan.ignored)

    @classmethod
    def of_directory(cls, directory: str, *, ignore_dot: bool) -> Taken:
        """What the service will take from a ``directory`` in staging, by names alone.

        Leaves it to the service to report what can't be read.
        """
        files, ignored, pending = 0, list[str](), [""]
        while pending:
            prefix = pending.pop()
            try:
                with os.scandir(os.path.join(directory, prefix)) as entries:
                    found = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
            except OSError:
                continue
            for name, is_directory in found:
                if is_internal(name) or (ignore_dot and name.startswith(".")):
                    ignored.append(prefix + name)
                elif is_directory:
                    pending.append(f"{prefix}{name}/")
                else:
                    files += 1
        return cls(files, sorted(ignored))


def tell_what_is_taken(directory: str, taken: Taken) -> None:
    """Warn of names that the upload of ``directory`` leaves out, and if it takes nothing."""
    internal = [path for path in taken.ignored if is_internal(os.path.basename(path))]
    dots = [path for path in taken.ignored if not is_internal(os.path.basename(path))]
    if dots:
        notify(
            f"the upload leaves out {_names(dots)} with a dot: {_listed(dots)} "
            "(to take them: --keep-dot, or ignore_dot=False)",
            LeftOut,
        )
    if internal:
        notify(
            f'the upload leaves out {_names(internal)} with "..", as names of the service do: '
            f"{_listed(internal)}",
            LeftOut,
        )
    if not taken.files:
        notify(
            f"the upload takes no file: {quoted(directory)} has "
            + ("only what is left out" if taken.ignored else "none"),
            NothingNew,
        )


def tell_what_is_not_kept(scan: Scan) -> None:
    """Warn of executable files: a version does not keep permissions."""
    warning = executable_warning(scan)
    if warning is not None:
        notify(warning, NotKept)


def _names(paths: Collection[str]) -> str:
    return "1 name that starts" if len(paths) == 1 else f"{len(paths)} names that start"


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(quoted(path) for path in paths[:NAMES_SHOWN])
    more = len(paths) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
