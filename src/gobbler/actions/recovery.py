"""After a crash: sweep what nobody builds any more, finish what had been published.

It costs what was in flight, not what the registry holds.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from gobbler.actions.accounting import recount, redecide_latest
from gobbler.actions.consuming import consume_again
from gobbler.actions.guards import changing_asset
from gobbler.actions.journal import is_committed, redo
from gobbler.actions.logs import publish_log
from gobbler.disk.drafts import sweep_drafts
from gobbler.disk.flushing import Durability, flush_filesystem
from gobbler.disk.incoming import (
    Job,
    abandoned_jobs,
    abandoned_task,
    done_path,
    forget_old_answers,
)
from gobbler.disk.intents import Intent
from gobbler.disk.opening import read_file
from gobbler.errors import GobblerError, Missing
from gobbler.records import decode
from gobbler.registry import Registry

logger = logging.getLogger(__name__)


def recover(registry: Registry, durability: Durability) -> tuple[int, int]:
    """Deal with all abandoned jobs and drafts; how many were finished and how many swept.

    A job that can't be dealt with is logged and stays for the next time.
    """
    finished = swept = 0
    for job in abandoned_jobs(registry.root):
        try:
            intent = _intent(job)
            if intent is not None and is_committed(job, intent):
                _finish(registry, job, intent)
                flush_filesystem(registry.root, durability)
                logger.warning("finished a change of %s that a crash had interrupted", intent.key)
                finished += 1
            elif job.is_resumable and not registry.has(done_path(job.task)):
                job.unfinished = True  # for whoever takes up the task again
            else:
                swept += 1
        except (GobblerError, OSError) as error:
            job.unfinished = True
            logger.error("could not finish %s: %s", job.path, error)
    forget_old_answers(registry.root)
    return finished, swept + sweep_drafts(registry.root)


def settle(registry: Registry, durability: Durability, task: str) -> dict[str, object] | None:
    """The answer to ``task`` if an earlier attempt has made its change; completes that.

    Raises :class:`~gobbler.disk.incoming.StillRunning` if another process is at it.
    """
    with abandoned_task(registry.root, task) as job:
        intent = None if job is None else _intent(job)
        if job is not None and intent is not None and is_committed(job, intent):
            _finish(registry, job, intent)
            flush_filesystem(registry.root, durability)
        if job is not None and registry.has(done_path(task)):
            job.unfinished = False
    try:
        path = registry.path(done_path(task))
        return decode(read_file(path, path), dict[str, object], path)
    except Missing:
        return None


def forget_task(registry: Registry, durability: Durability, task: str) -> None:
    """Remove all that is left of a ``task``, now that its requester has an answer.

    A change that could be neither completed nor taken back is completed first. Raises
    :class:`~gobbler.disk.incoming.StillRunning` if another process is at it.
    """
    with abandoned_task(registry.root, task) as job:
        if job is not None:
            intent = _intent(job)
            if intent is not None and is_committed(job, intent):
                _finish(registry, job, intent)
                flush_filesystem(registry.root, durability)
            job.unfinished = False
    with suppress(FileNotFoundError):
        os.unlink(registry.path(done_path(task)))


def _intent(job: Job) -> Intent | None:
    try:
        return decode(read_file(job.intent, job.intent), Intent, job.intent)
    except Missing:
        return None


def _finish(registry: Registry, job: Job, intent: Intent) -> None:
    redo(registry, job, intent)
    key = intent.key
    for project in intent.recount:
        if registry.has(project):
            recount(registry, job, project)
    if intent.latest and registry.has(key.of_asset.path):
        with changing_asset(registry, key.of_asset):
            redecide_latest(registry, job, key.of_asset)
    publish_log(registry, job)
    if intent.adopted and registry.has(key.path):
        own = [
            path
            for path, entry in registry.manifest(key).items()
            if entry.link is None and not entry.is_directory
        ]
        consume_again(intent.staging, intent.source, registry.path(key.path), own)
