"""Cleanup of staging: what users left there, and nobody has changed for a while.

Whoever runs it removes what the permissions allow: root everything, the account of a service its
own files, those in directories that it may write, and request files if it owns staging. The client
removes its own copies, see :mod:`gobbler.client.staged_copies`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from gobbler.errors import quoted
from gobbler.fs.age import is_unchanged
from gobbler.fs.open import closing, open_directory
from gobbler.fs.removal import remove
from gobbler.model.names import is_internal
from gobbler.model.requests import REQUEST_PREFIX

KEEP_SECONDS = 7 * 86_400.0
"""Seconds for which staging is kept."""

logger = logging.getLogger(__name__)


@dataclass
class CleanedStaging:
    """The names in staging that were removed, and those that are old but could not be removed.

    A part of the latter may be gone.
    """

    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def clean_staging(
    staging: str,
    limit: float,
    *,
    keep: frozenset[str] = frozenset(),
    dry_run: bool = False,
) -> CleanedStaging:
    """Remove request files and source directories that have not changed since ``limit``.

    ``limit`` is in seconds since the epoch. Keeps what ``keep`` names: the sources of jobs that
    wait. Follows no link, and does not leave the filesystem of staging. With ``dry_run`` nothing
    is removed, and ``removed`` lists what would be. Raises ``OSError`` if staging can't be listed.
    """
    found = CleanedStaging()
    with closing(open_directory(staging)) as directory:
        for name in sorted(_candidates(directory)):
            if name in keep or not is_unchanged(directory, name, limit):
                continue
            done = dry_run or remove(directory, name, unchanged_since=limit)
            (found.removed if done else found.left).append(name)
    return found


def _candidates(directory: int) -> Iterator[str]:
    """The names of request files and directories, but not those of the service or of a mount."""
    device = os.fstat(directory).st_dev
    with os.scandir(directory) as entries:
        found = list(entries)  # removing goes on between two of them, and keeps nothing open
    for entry in found:
        if is_internal(entry.name) or entry.name == "lost+found":
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        is_request = entry.name.startswith(REQUEST_PREFIX)
        if status.st_dev == device and (is_request or stat.S_ISDIR(status.st_mode)):
            yield entry.name


def source_of(request: bytes) -> str | None:
    """The name of the source directory in the content of a request, if it has one."""
    try:
        return msgspec.json.decode(request, type=_Source).source
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Source(msgspec.Struct):
    source: str | None = None


class StagingLog:
    """Logs the results of cleanups; what stays is logged once, not each time."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def log(self, cleaned: CleanedStaging) -> None:
        """Log what was removed, and what is new among what could not be removed."""
        for name in cleaned.removed:
            logger.info("removed old %s in staging", quoted(name))
        new = [name for name in cleaned.left if name not in self._told]
        self._told = set(cleaned.left)
        if new:
            logger.warning(
                "%d old files or directories in staging can't be removed, since they belong to "
                "other accounts, among them %s; let root run: gobbler staging clean",
                len(cleaned.left),
                quoted(new[0]),
            )
