"""Preservation: the spool and the replay guard survive those who remove what looks old.

The Go service's daily purge removes everything in staging that was not modified for seven days, and
cleaners of scratch filesystems do the like, file by file. A directory that is in use every minute
may look old: its own time changes only with the names directly in it. So the service sets these
times again; and what is removed nevertheless is made anew as soon as somebody misses it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from gobbler.model.jobs import STATE_SUFFIX
from gobbler.spool.job_store import job_of
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

OLD = 86_400.0
"""Seconds after which the time of a record is set again; cleaners leave files alone for longer."""

HOUR = 3600.0


def restore(spool: Spool, replay_guard: ReplayGuard) -> None:
    """Make the service's directories in staging anew, where they are missing.

    Raises :class:`~gobbler.errors.Fault` if one of them is somebody else's.
    """
    replay_guard.restore()
    spool.restore()


def keep_young(spool: Spool, replay_guard: ReplayGuard) -> None:
    """Set the times of the service's directories in staging, and of the unanswered jobs."""
    replay_guard.keep_young()
    for path, _ in spool.directories:
        with suppress(FileNotFoundError):
            os.utime(path, follow_symlinks=False)
    _keep_records_young(spool, time.time())


def _keep_records_young(spool: Spool, now: float) -> None:
    """Set the times of old records, in their order: the oldest job of a user is the next one."""
    directory = spool.records.directory
    times: list[tuple[float, str]] = []
    for name in os.listdir(directory):
        if job_of(name) is not None:
            with suppress(FileNotFoundError):
                times.append((os.lstat(f"{directory}/{name}").st_mtime, name))
    times.sort()
    if not times or times[0][0] > now - OLD:
        return
    for number, (modified, name) in enumerate(times):
        if modified < now - HOUR:
            moment = now - HOUR + number * 1e-3
            for path in (f"{directory}/{name}", f"{spool.cur}/{job_of(name)}{STATE_SUFFIX}"):
                with suppress(FileNotFoundError):
                    os.utime(path, (moment, moment), follow_symlinks=False)
