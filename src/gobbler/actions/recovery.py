"""After a crash: sweep what nobody builds any more, finish what had been published.

It costs what was in flight, not what the registry holds.
"""

from __future__ import annotations

import logging
import os

from gobbler.actions.accounting import recount, redecide_latest
from gobbler.actions.consuming import consume_again
from gobbler.actions.logs import publish_log
from gobbler.disk.flushing import Durability, flush_filesystem
from gobbler.disk.incoming import Job, abandoned_jobs
from gobbler.disk.locks import locked
from gobbler.disk.opening import read_file
from gobbler.errors import GobblerError
from gobbler.names import LOCK
from gobbler.records import Intent, decode
from gobbler.registry import Registry

logger = logging.getLogger(__name__)


def recover(registry: Registry, durability: Durability) -> tuple[int, int]:
    """Deal with all abandoned jobs; how many were finished and how many swept.

    A job that can't be dealt with is logged and stays for the next time.
    """
    finished = swept = 0
    for job in abandoned_jobs(registry.root):
        try:
            if _was_published(job):
                _finish(registry, job, durability)
                finished += 1
            else:
                swept += 1
        except (GobblerError, OSError) as error:
            job.unfinished = True
            logger.error("could not finish %s: %s", job.path, error)
    return finished, swept


def _was_published(job: Job) -> bool:
    return (
        os.path.lexists(job.intent)
        and not os.path.lexists(job.tree)
        and not os.path.lexists(f"{job.path}/asset")
    )


def _finish(registry: Registry, job: Job, durability: Durability) -> None:
    intent = decode(read_file(job.intent, job.intent), Intent, job.intent)
    key = intent.key
    if not registry.has(key.path):
        return  # removed since by someone who put usage and latest right
    with (
        locked(registry.path(LOCK), exclusive=False),
        locked(registry.path(f"{key.project}/{LOCK}"), exclusive=False),
        locked(registry.path(f"{key.of_asset.path}/{LOCK}"), exclusive=True),
    ):
        recount(registry, key.project)
        if not intent.on_probation:
            redecide_latest(registry, key.of_asset)
            publish_log(registry, job)
    if intent.adopted:
        manifest = registry.manifest(key)
        own = [
            path
            for path, entry in manifest.items()
            if entry.link is None and not entry.is_directory
        ]
        consume_again(intent.staging, intent.source, registry.path(key.path), own)
    flush_filesystem(registry.root, durability)
    logger.warning("finished the publication of %s, which a crash had interrupted", key)
