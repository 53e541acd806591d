"""What the service removes by itself, at its start and then daily.

Request files and source directories in staging, answers in the spool, and logs, that are
older than seven days;
versions that have been on probation for too long.


What goes on in the background of a service or a worker: recovery, and tidying up.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, repeat

from gobbler.actions.reject_probation import remove_from_probation
from gobbler.doctor import scratch
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.fs.open import closing, open_directory
from gobbler.fs.removal import is_older, remove
from gobbler.index import Index
from gobbler.index.database import UnusableIndex
from gobbler.index.index import IndexUpdater
from gobbler.model.jobs import ANSWER_SUFFIX, STATE_SUFFIX
from gobbler.model.names import INCOMING, LOGS, VersionKey, is_internal
from gobbler.model.records import parse_time
from gobbler.model.requests import REQUEST_PREFIX
from gobbler.registry.recovery import recover
from gobbler.registry.registry import Registry
from gobbler.service.settings import Settings
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

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
    if name.startswith(REQUEST_PREFIX):
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


SWEEP_EVERY = 60.0
"""Seconds between two looks for what crashed workers, here or elsewhere, have left."""

WRITTEN_WITHIN = 600.0
"""Seconds after which nobody goes on writing a small file."""

TIDY_EVERY = 86_400.0
"""Seconds between two rounds of removing what is old."""


def start_background_tasks(settings: Settings) -> None:
    """Begin with it, in threads that end with the process."""
    for task in (_sweep_now_and_then, _tidy_daily):
        threading.Thread(target=task, args=(settings,), name=task.__name__, daemon=True).start()


def recover_after_crash(settings: Settings) -> None:
    """Put right what a crash may have left. What fails is logged."""
    try:
        finished, swept = recover(Registry(settings.registry), settings.durability)
        ReplayGuard(settings.replay_guard).forget_old()
        _remove_probes(settings, time.time() - WRITTEN_WITHIN)
        Spool(settings.staging, settings.durability).sweep(time.time() - WRITTEN_WITHIN)
    except (GobblerError, OSError):
        logger.exception("could not look for what a crash may have left")
        return
    if finished or swept:
        logger.warning("recovered from a crash: %d finished, %d swept", finished, swept)


def _remove_probes(settings: Settings, limit: float) -> None:
    """Remove what the probes at the start of a service leave if it is killed meanwhile."""
    incoming = f"{settings.registry}/{INCOMING}"
    for name in os.listdir(incoming):
        if name.startswith(scratch.PREFIX):
            with suppress(FileNotFoundError):
                if os.lstat(f"{incoming}/{name}").st_mtime < limit:
                    shutil.rmtree(f"{incoming}/{name}")


def _sweep_now_and_then(settings: Settings) -> None:
    # A process that was killed may take seconds to be gone, its locks with it.
    for pause in chain((1, 5, 15), repeat(SWEEP_EVERY)):
        time.sleep(pause)
        recover_after_crash(settings)


def _tidy_daily(settings: Settings) -> None:
    while True:
        tidy(settings)
        time.sleep(TIDY_EVERY)


INDEX_UPDATE_SECONDS = 60.0
"""Seconds between two updates of the index."""


def keep_index(settings: Settings) -> None:
    """Keep the index up to date, for ever. What fails is logged."""
    if settings.index is None:
        return
    index = Index(settings.index, Registry(settings.registry))
    keeper = IndexUpdater(Registry(settings.registry), index)
    while True:
        try:
            keeper.look()
        except (UnusableIndex, GobblerError, OSError) as error:
            logger.warning("the index %s could not be brought up to date: %s", index.path, error)
        time.sleep(INDEX_UPDATE_SECONDS)
