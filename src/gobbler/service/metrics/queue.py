"""How many jobs of the spool wait and run."""

from __future__ import annotations

import os
import threading
import time

from gobbler.spool.job_store import LOCK_SUFFIX
from gobbler.spool.spool import Spool

VALID_FOR = 5.0
"""Seconds for which a result is used again: to count, the service lists the spool."""


class QueueLength:
    """Counts the jobs of ``spool`` that no worker has answered yet."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._counted = -VALID_FOR
        self._last = {"waiting": 0.0, "running": 0.0}

    def measure(self) -> dict[str, float]:
        """The number of jobs by state: ``waiting`` and ``running``."""
        with self._lock:
            if time.monotonic() - self._counted >= VALID_FOR:
                self._last = self._count()
                self._counted = time.monotonic()
            return self._last

    def _count(self) -> dict[str, float]:
        try:
            pending = self._spool.records.pending()
            names = set(os.listdir(self._spool.records.directory))
            arrived = os.listdir(self._spool.new)
        except OSError:
            return {}  # it is being made again, or its mount has just failed
        jobs = [job for job, found in pending.items() if found.is_unanswered]
        running = sum(job + LOCK_SUFFIX in names for job in jobs)
        waiting = len(jobs) - running + len(arrived)
        return {"waiting": float(waiting), "running": float(running)}
