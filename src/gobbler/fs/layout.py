"""The layout of staging and registry: the directories that the service makes, and their modes.

::

    staging/             1733  all users add files, can't list those of others, and remove only
                               their own
        ..requests/      0700  a file for each request that was begun
        ..spool/         0755
            tmp/, new/   1733  all users add requests, and can't list those of others
            cur/         0711  all users read the states of jobs whose names they know
            jobs/        0700  records of jobs
    registry/            0755  all users read, only the service writes
        ..logs/          0755
        ..incoming/      0700  workspaces of versions and changes in preparation
"""

from __future__ import annotations

from typing import NamedTuple

from gobbler.fs.atomic_write import DIRECTORY_MODE, PRIVATE_DIRECTORY_MODE
from gobbler.model.jobs import CUR, JOBS, NEW, SPOOL, TMP
from gobbler.model.names import INCOMING, LOGS

REQUESTS = "..requests"

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


def registry_directories(registry: str) -> tuple[OwnDirectory, ...]:
    """The directories to make in ``registry``."""
    return (
        OwnDirectory(f"{registry}/{LOGS}", DIRECTORY_MODE),
        OwnDirectory(f"{registry}/{INCOMING}", PRIVATE_DIRECTORY_MODE),
    )
