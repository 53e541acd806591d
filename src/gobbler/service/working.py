"""The worker: takes jobs from the spool, a few at a time, beside the HTTP service or without.

Any number of workers may serve one spool, on any hosts that mount its directories.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from gobbler.actions.site import Site
from gobbler.disk.presence import Presence
from gobbler.errors import GobblerError, quoted
from gobbler.requests import action_of
from gobbler.rules.fairness import Waiting, in_turn
from gobbler.service.performing import Performer
from gobbler.spool.arrivals import Arrivals
from gobbler.spool.begun import Begun
from gobbler.spool.jobs import Record, Spool

LOOK_EVERY = 0.1
"""Seconds between two looks into the spool."""

AT_ONCE = {"cancel_job", "list_jobs", "health_check"}
"""Actions that take no time, and must not wait for those that do."""

MANY = 100
"""Jobs of these actions that are carried out in a row."""

logger = logging.getLogger(__name__)


class Worker:
    """Carries out the jobs of one spool, ``slots`` of them at a time."""

    def __init__(self, site: Site, begun: str, slots: int) -> None:
        self._site = site
        self._spool = Spool(site.staging, site.durability)
        self._arrivals = Arrivals(self._spool, Begun(begun))
        self._performer = Performer(site, self._spool)
        self._slots = slots
        self._running: dict[str, threading.Thread] = {}
        self._served: dict[int, float] = {}
        self._changed = threading.Condition()
        self._stopped = False

    def run(self) -> None:
        """Work until :meth:`stop`."""
        failing = False
        while not self._stopped:
            try:
                took = self._take()
                failing = False
            except (OSError, GobblerError) as error:
                if not failing:
                    logger.error("could not look into the spool: %s", error)
                took, failing = False, True
            if not took:
                with self._changed:
                    if not self._stopped:
                        self._changed.wait(10 * LOOK_EVERY if failing else LOOK_EVERY)

    def stop(self, grace: float) -> bool:
        """Take no more jobs; whether those under way ended within ``grace`` seconds.

        Others stay as they are: whoever takes them up next goes on with them.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._running

    def _take(self) -> bool:
        """Begin what can be begun; whether there was anything."""
        waiting, running, unanswered = self._spool.waiting()
        arrived = self._arrivals.waiting(besides=unanswered)
        files = {known.job: name for name, known in arrived.items()}
        candidates = {job.job: job for job in (*arrived.values(), *waiting)}
        quick = [job for job in candidates.values() if _is_quick(job)]
        quick.sort(key=lambda job: (self._served.get(job.uid, 0.0), job.since))
        took = False
        for job in quick[:MANY]:
            took |= self._begin(job, files, here=True)
        rest = [job for job in candidates.values() if not _is_quick(job)]
        while (free := self._slots - len(self._running)) > 0:
            turns = in_turn(rest, running, self._served, free=free, slots=self._slots)
            begun = next((job for job in turns if self._begin(job, files, here=False)), None)
            rest = [job for job in rest if job not in turns[: _upto(turns, begun)]]
            if begun is None:
                break
            running[begun.uid] = running.get(begun.uid, 0) + 1
            took = True
        return took

    def _begin(self, waiting: Waiting, files: dict[str, str], *, here: bool) -> bool:
        """Begin one job, in this thread (``here``) or in one of its own; whether it was."""
        self._served[waiting.uid] = time.monotonic()
        job: str | None = waiting.job
        if waiting.job in files:
            job = self._arrivals.claim(files[waiting.job])
        if job is None:
            return False
        presence = self._spool.hold(job)
        if presence is None:
            return False
        try:
            begun = self._begin_held(job)
        except (OSError, GobblerError) as error:
            logger.error("could not begin job %s: %s", quoted(job), error)
            begun = None
        if begun is None:
            presence.vanish()
            return False
        if here:
            self._performer.perform(presence, *begun)
            return True
        thread = threading.Thread(
            target=self._in_thread, args=(presence, *begun), name=f"job {job}", daemon=True
        )
        with self._changed:
            self._running[job] = thread
        thread.start()
        return True

    def _begin_held(self, job: str) -> tuple[Record, int] | None:
        known = self._spool.unanswered().get(job)
        if known is not None and known.claimed is not None:
            self._arrivals.go_on(job, known.claimed, has_record=known.begun is not None)
            known = self._spool.unanswered().get(job)
        if known is None or known.begun is None:
            return None
        record = self._spool.begin(job, known.begun)
        return None if record is None else (record, known.begun + 1)

    def _in_thread(self, presence: Presence, record: Record, attempt: int) -> None:
        try:
            self._performer.perform(presence, record, attempt)
        finally:
            with self._changed:
                del self._running[record.job]
                self._changed.notify_all()


def _is_quick(job: Waiting) -> bool:
    return action_of(job.job.partition("-")[2]) in AT_ONCE


def _upto(turns: Iterable[Waiting], begun: Waiting | None) -> int | None:
    """How many of ``turns`` were tried."""
    return None if begun is None else 1 + list(turns).index(begun)
