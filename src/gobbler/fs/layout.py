"""The layout of staging and registry: the directories that the service makes, and their modes.

::

    staging/             1733  all users add files, can't list those of others, and remove only
                               their own
        ..requests/      0700  a file for each request that was begun, and a reserve of space
        ..spool/         0755
            tmp/, new/   1733  all users add requests, and can't list those of others
            cur/         0711  all users read the states of jobs whose names they know
            jobs/        0700  records of jobs
    registry/            0755  all users read, only the service writes
        ..logs/          0755
        ..incoming/      0700  workspaces of versions and changes in preparation
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from gobbler.errors import Fault
from gobbler.fs import acl
from gobbler.fs.atomic_write import DIRECTORY_MODE, PRIVATE_DIRECTORY_MODE
from gobbler.fs.open import DIRECTORY, closing
from gobbler.model.jobs import CUR, JOBS, NEW, SPOOL, TMP
from gobbler.model.names import INCOMING, LOGS

REQUESTS = "..requests"

STAGING_RESERVE = "reserve"

STAGING_MODE = 0o1733
"""The service also works with 1777; then every user can list the names of others' requests."""
REGISTRY_MODE = DIRECTORY_MODE
DROP_MODE = 0o1733
PASSAGE_MODE = 0o711


class OwnDirectory(NamedTuple):
    """A directory that the service makes: its path and its mode."""

    path: str
    mode: int


def staging_directories(staging: str) -> tuple[OwnDirectory, ...]:
    """The directories to make in ``staging``, each before its subdirectories."""
    spool = f"{staging}/{SPOOL}"
    return (
        OwnDirectory(f"{staging}/{REQUESTS}", PRIVATE_DIRECTORY_MODE),
        OwnDirectory(spool, DIRECTORY_MODE),
        OwnDirectory(f"{spool}/{TMP}", DROP_MODE),
        OwnDirectory(f"{spool}/{NEW}", DROP_MODE),
        OwnDirectory(f"{spool}/{CUR}", PASSAGE_MODE),
        OwnDirectory(f"{spool}/{JOBS}", PRIVATE_DIRECTORY_MODE),
    )


def staging_reserve(staging: str) -> str:
    """The directory of the reserve in ``staging`` (:mod:`gobbler.fs.reserve`)."""
    return f"{staging}/{REQUESTS}/{STAGING_RESERVE}"


def registry_directories(registry: str) -> tuple[OwnDirectory, ...]:
    """The directories to make in ``registry``."""
    return (
        OwnDirectory(f"{registry}/{LOGS}", DIRECTORY_MODE),
        OwnDirectory(f"{registry}/{INCOMING}", PRIVATE_DIRECTORY_MODE),
    )


def make_directory(path: str, mode: int) -> bool:
    """Make one of these directories if it is missing; whether it was."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    with closing(os.open(path, DIRECTORY)) as made:
        # Despite the umask, a default ACL above, and a mkdir that ignores the sticky bit.
        acl.remove(made, mode)
    return True


def check_own(directories: Iterable[OwnDirectory]) -> None:
    """Check that the ``directories`` are there, and this account's.

    Every user may write in staging. If something removes a directory of the service, a user could
    put another one in its place. Raises :class:`~gobbler.errors.Fault` for that, and
    ``FileNotFoundError``.
    """
    for path, _ in directories:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise Fault(
                f"{path} is not a directory of the service's own account",
                hint="Find out who made it, and remove it: the service makes it anew.",
            )
