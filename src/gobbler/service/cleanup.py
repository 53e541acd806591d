"""Cleanup and recovery, which a service does in the background.

Cleanup, at the start and then daily, removes what is older than seven days: request files and
source directories in staging, answers in the spool, and logs. It ends the probation of versions
that have been on it for too long. Recovery removes or completes what a crash left behind.
The remover removes the files of deleted versions, and of changes that were given up.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, repeat

from gobbler.actions.probation import remove_from_probation
from gobbler.doctor import scratch
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.fs.flush import Durability
from gobbler.fs.layout import staging_directories
from gobbler.fs.open import closing, open_directory
from gobbler.fs.record_file import read_file
from gobbler.fs.removal import is_older, remove, remove_tree_quietly
from gobbler.fs.reserve import with_reserve
from gobbler.index import Index
from gobbler.index.database import UnusableIndex
from gobbler.index.index import IndexUpdater
from gobbler.model.jobs import ANSWER_SUFFIX, STATE_SUFFIX
from gobbler.model.names import INCOMING, LOGS, VersionKey
from gobbler.model.records import decode, parse_time
from gobbler.registry.recovery import recover
from gobbler.registry.registry import Registry
from gobbler.registry.remover import Remover
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.settings import Settings
from gobbler.service.staging_cleanup import (
    KEEP_SECONDS,
    StagingLog,
    clean_staging,
    source_of,
)
from gobbler.spool.job_store import JobRecord
from gobbler.spool.preservation import keep_young, restore
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

DAY = 86_400.0

CLEANUP_INTERVAL = DAY
"""Seconds between two cleanups."""

RECOVERY_INTERVAL = 60.0
"""Seconds between two recoveries, which also cover crashes on other hosts."""

PRESERVATION_INTERVAL = 3600.0
"""Seconds after which the times of the service's directories in staging are set again."""

WRITE_TIMEOUT = 600.0
"""Seconds after which a small file is no longer being written."""

INDEX_UPDATE_INTERVAL = 60.0
"""Seconds between two updates of the index."""

logger = logging.getLogger(__name__)


class Cleaned:
    """How many old entries were removed, and how many could not be."""

    def __init__(self) -> None:
        self.removed = self.failures = 0

    def count(self, *, removed: bool) -> None:
        """Count one entry."""
        if removed:
            self.removed += 1
        else:
            self.failures += 1


def clean_up(settings: Settings, metrics: Metrics) -> None:
    """Remove what is old. Logs each error, and continues."""
    for what, task in (
        ("staging", clean_up_staging),
        ("spool", clean_up_spool),
        ("logs", clean_up_logs),
        ("probation", end_probation),
    ):
        cleaned = Cleaned()
        try:
            task(settings, time.time(), cleaned)
        except Exception:
            cleaned.count(removed=False)
            logger.exception("could not clean up: %s", what)
        metrics.add("gobbler_cleanup_removed", cleaned.removed, what)
        metrics.add("gobbler_cleanup_failures", cleaned.failures, what)
    metrics.set_time("gobbler_cleanup_last_run_timestamp_seconds")


def clean_up_staging(settings: Settings, now: float, cleaned: Cleaned) -> None:
    """Remove old request files and source directories."""
    try:
        os.close(open_directory(settings.staging))
    except PermissionError:
        logger.warning(
            "the service may not list %s, so nobody removes what users leave there; see gobbler "
            "doctor",
            settings.staging,
        )
        return
    found = clean_staging(
        settings.staging, now - KEEP_SECONDS, keep=sources_of_jobs(settings.staging)
    )
    for _ in found.removed:
        cleaned.count(removed=True)
    for _ in found.left:
        cleaned.count(removed=False)
    _staging_log.log(found)


_staging_log = StagingLog()


def sources_of_jobs(staging: str) -> frozenset[str]:
    """The names of the source directories of jobs that have no answer yet."""
    records = Spool(staging, Durability.FULL).records
    sources = set()
    for job, pending in records.pending().items():
        path = records._path(job, pending.attempts or 0)
        with suppress(GobblerError, OSError):  # answered meanwhile, or damaged
            if pending.claim is not None:
                content = read_file(pending.claim.path, pending.claim.path)
            else:
                content = decode(read_file(path, path), JobRecord, path).data
            sources.add(source_of(content))
    return frozenset(source for source in sources if source is not None)


def clean_up_spool(settings: Settings, now: float, cleaned: Cleaned) -> None:
    """Remove old answers, files that were set aside, and requests that never left ``tmp``.

    An unanswered job never expires, nor does a request that waits in the inbox.
    """
    spool = Spool(settings.staging, settings.durability)
    unanswered = spool.records.pending()
    for directory in (spool.tmp, spool.cur):
        with closing(open_directory(directory)) as space:
            with os.scandir(space) as entries:
                names = [entry.name for entry in entries]
            for name in names:
                job = name.removesuffix(ANSWER_SUFFIX).removesuffix(STATE_SUFFIX)
                if job not in unanswered and is_older(space, name, now - KEEP_SECONDS):
                    cleaned.count(removed=remove(space, name))


def clean_up_logs(settings: Settings, now: float, cleaned: Cleaned) -> None:
    """Remove old log entries."""
    with closing(open_directory(f"{settings.registry}/{LOGS}")) as logs:
        with os.scandir(logs) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if is_older(logs, name, now - KEEP_SECONDS):
                cleaned.count(removed=remove(logs, name))


def end_probation(settings: Settings, now: float, cleaned: Cleaned) -> None:
    """Remove versions whose probation has expired."""
    if settings.probation_days < 0:
        return
    registry = Registry(settings.registry)
    limit = now - settings.probation_days * DAY
    for key in _versions(registry):
        try:
            if _is_expired(registry, key, limit):
                _remove(settings, registry, key, limit)
                cleaned.count(removed=True)
                logger.info("removed version %s: its probation has expired", quoted(key.path))
        except (GobblerError, OSError) as error:
            cleaned.count(removed=False)
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

    with_reserve(
        [registry.reserve], lambda: remove_from_probation(registry, settings.durability, key, check)
    )


def recover_after_crash(settings: Settings, metrics: Metrics | None = None) -> None:
    """Complete or roll back what a crash left behind, and tidy up. Errors are logged."""
    recover_changes(settings, metrics)
    _safely_recover(lambda: _tidy_up(settings))


def recover_changes(settings: Settings, metrics: Metrics | None = None) -> None:
    """Complete or roll back interrupted changes of the registry: no other may precede that.

    Errors are logged.
    """
    _safely_recover(lambda: _recover_changes(settings, metrics))


def _safely_recover(task: Callable[[], object]) -> None:
    try:
        task()
    except (GobblerError, OSError) as error:
        logger.error("recovery failed, and is tried again: %s", error)
    except Exception:
        logger.exception("recovery failed, and is tried again")


def _recover_changes(settings: Settings, metrics: Metrics | None) -> None:
    completed, removed = recover(Registry(settings.registry), settings.durability)
    if metrics is not None:
        metrics.add("gobbler_recovered_changes", completed, "completed")
        metrics.add("gobbler_recovered_changes", removed, "rolled_back")
    if completed or removed:
        logger.warning(
            "recovered from a crash: completed %d changes, rolled back %d", completed, removed
        )


def _tidy_up(settings: Settings) -> None:
    """Prepare for a full disk, and remove what else a crash left behind."""
    limit = time.time() - WRITE_TIMEOUT
    Registry(settings.registry).reserve.fill()
    replay_guard = ReplayGuard(settings.replay_guard)
    replay_guard.forget_old()
    replay_guard.prepare()
    _remove_probes(settings, limit)
    Spool(settings.staging, settings.durability).recover(limit)


def _remove_probes(settings: Settings, limit: float) -> None:
    """Remove files by which a service probed the filesystem when it was killed."""
    incoming = f"{settings.registry}/{INCOMING}"
    for name in os.listdir(incoming):
        if name.startswith(scratch.PREFIX):
            with suppress(FileNotFoundError):
                if os.lstat(f"{incoming}/{name}").st_mtime < limit:
                    remove_tree_quietly(f"{incoming}/{name}")


def start_background_tasks(settings: Settings, metrics: Metrics) -> None:
    """Start cleanup, recovery, removal and updates of the index in threads of this process.

    They end with the process.
    """
    for task in (_recover_repeatedly, _clean_up_repeatedly, _remove_repeatedly, keep_index):
        threading.Thread(
            target=task, args=(settings, metrics), name=task.__name__, daemon=True
        ).start()


def safely(task: Callable[[], object], what: str) -> None:
    """Carry out one round of a background task. What goes wrong is logged, and ends no thread."""
    try:
        task()
    except Exception:
        logger.exception("%s failed, and is tried again", what)


def preserve(settings: Settings) -> None:
    """Keep the spool and the replay guard from looking old, and make what is missing anew."""
    replay_guard = ReplayGuard(settings.replay_guard)
    try:
        spool = Spool(settings.staging, settings.durability)
        restore(spool, replay_guard)
        keep_young(spool, replay_guard)
    except (GobblerError, OSError) as error:
        logger.error("could not preserve the spool of %s: %s", settings.staging, error)


def _recover_repeatedly(settings: Settings, metrics: Metrics) -> None:
    # A process that was killed may take seconds to vanish, and its locks with it.
    preserved_at = 0.0

    def preserve_in_time() -> None:
        nonlocal preserved_at
        if time.monotonic() - preserved_at > PRESERVATION_INTERVAL or _is_missing(settings):
            preserve(settings)
            preserved_at = time.monotonic()

    for pause in chain((0, 1, 5, 15), repeat(RECOVERY_INTERVAL)):
        time.sleep(pause)
        safely(preserve_in_time, "the preservation of the spool")
        safely(partial(recover_after_crash, settings, metrics), "recovery")


def _is_missing(settings: Settings) -> bool:
    return not all(
        os.path.lexists(directory.path) for directory in staging_directories(settings.staging)
    )


def _clean_up_repeatedly(settings: Settings, metrics: Metrics) -> None:
    while True:
        safely(partial(clean_up, settings, metrics), "cleanup")
        time.sleep(CLEANUP_INTERVAL)


def _remove_repeatedly(settings: Settings, metrics: Metrics) -> None:
    remover = Remover(
        settings.registry, lambda count: metrics.add("gobbler_discarded_removed", count)
    )
    while True:
        safely(remover.run, "the removal of discarded trees")
        time.sleep(RECOVERY_INTERVAL)


def keep_index(settings: Settings, metrics: Metrics) -> None:
    """Keep the index up to date, and never return. Errors are logged."""
    if settings.index is None:
        return
    registry = Registry(settings.registry)
    index = Index(settings.index, registry)
    updater = IndexUpdater(registry, index)

    def update() -> None:
        try:
            updater.update()
            metrics.add("gobbler_index_updates", 1, "success")
            metrics.set_time("gobbler_index_last_update_timestamp_seconds")
        except (UnusableIndex, GobblerError, OSError) as error:
            metrics.add("gobbler_index_updates", 1, "failed")
            logger.warning("could not update the index %s: %s", index.path, error)

    while True:
        safely(update, f"the update of the index {index.path}")
        time.sleep(INDEX_UPDATE_INTERVAL)
