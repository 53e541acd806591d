"""What the service removes by itself, at its start and then daily.

Request files and source directories in staging, answers in the spool, and logs, that are
older than seven days;
versions that have been on probation for too long.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator

from gobbler.actions.reject_probation import remove_from_probation
from gobbler.disk.aging import is_older, remove
from gobbler.disk.opening import closing, open_directory
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.jobs import ANSWER_SUFFIX, STATE_SUFFIX
from gobbler.names import LOGS, VersionKey, is_internal
from gobbler.records import parse_time
from gobbler.registry import Registry
from gobbler.requests import PREFIX
from gobbler.service.settings import Settings
from gobbler.spool.jobs import Spool

DAY = 86_400.0
KEPT_FOR = 7 * DAY
"""Seconds for which staging and logs are kept."""

logger = logging.getLogger(__name__)


def tidy(settings: Settings) -> None:
    """Do one round. What fails is logged, and the rest goes on."""
    for what, task in (
        ("staging", tidy_staging),
        ("the spool", tidy_spool),
        ("logs", tidy_logs),
        ("probation", end_probation),
    ):
        try:
            task(settings, time.time())
        except (GobblerError, OSError):
            logger.exception("could not tidy up %s", what)


def tidy_staging(settings: Settings, now: float) -> None:
    """Remove old request files and source directories."""
    with closing(open_directory(settings.staging)) as staging:
        with os.scandir(staging) as entries:
            names = [entry.name for entry in entries if not is_internal(entry.name)]
        for name in names:
            if _is_ours_to_tidy(staging, name) and is_older(staging, name, now - KEPT_FOR):
                done = remove(staging, name)
                logger.info("%s old %s in staging", _told(done), quoted(name))


def _is_ours_to_tidy(staging: int, name: str) -> bool:
    if name.startswith(PREFIX):
        return True
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=staging, follow_symlinks=False).st_mode)
    except OSError:
        return False


def tidy_spool(settings: Settings, now: float) -> None:
    """Remove old answers, what was set aside, and what was begun but never asked for.

    A job that is not answered is never too old, nor is a request that nobody has taken yet.
    """
    spool = Spool(settings.staging, settings.durability)
    unanswered = spool.records.all()
    for directory in (spool.tmp, spool.cur):
        with closing(open_directory(directory)) as space:
            with os.scandir(space) as entries:
                names = [entry.name for entry in entries]
            for name in names:
                job = name.removesuffix(ANSWER_SUFFIX).removesuffix(STATE_SUFFIX)
                if job not in unanswered and is_older(space, name, now - KEPT_FOR):
                    remove(space, name)


def tidy_logs(settings: Settings, now: float) -> None:
    """Remove old log entries."""
    with closing(open_directory(f"{settings.registry}/{LOGS}")) as logs:
        with os.scandir(logs) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if is_older(logs, name, now - KEPT_FOR):
                remove(logs, name)


def end_probation(settings: Settings, now: float) -> None:
    """Remove versions that have been on probation for longer than is allowed."""
    if settings.probation_days < 0:
        return
    registry = Registry(settings.registry)
    limit = now - settings.probation_days * DAY
    for key in _versions(registry):
        try:
            if _is_expired(registry, key, limit):
                _remove(settings, registry, key, limit)
                logger.info("removed %s: on probation for too long", quoted(key.path))
        except (GobblerError, OSError) as error:
            logger.error("could not end the probation of %s: %s", quoted(key.path), error)


def _versions(registry: Registry) -> Iterator[VersionKey]:
    for project in registry.projects():
        for asset in registry.assets(project):
            yield from registry.versions(asset)


def _is_expired(registry: Registry, key: VersionKey, limit: float) -> bool:
    try:
        summary = registry.summary(key)
    except Missing:
        return False
    finished = parse_time(summary.upload_finish)
    return summary.on_probation and finished is not None and finished.timestamp() < limit


def _remove(settings: Settings, registry: Registry, key: VersionKey, limit: float) -> None:
    def check() -> None:
        if not _is_expired(registry, key, limit):
            raise Missing(f"{quoted(key.path)} is not on probation any more")

    remove_from_probation(registry, settings.durability, key, check)


def _told(done: bool) -> str:
    return "removed" if done else "could not remove"
