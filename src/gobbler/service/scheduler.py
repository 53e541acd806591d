"""The worker: takes jobs from the spool, a few at a time, beside the HTTP service or without.

Any number of workers may serve one spool, on any hosts that mount its directories.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from gobbler.actions.context import ServiceContext
from gobbler.errors import GobblerError, quoted
from gobbler.fs.lease import Lease
from gobbler.model.requests import action_of
from gobbler.rules.fairness import UserTurns, Waiting
from gobbler.service.job_runner import Performer
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import Record
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

LOOK_EVERY = 0.1
"""Seconds between two looks into the spool."""

LOOK_SHARE = 4
"""Of its time, a worker looks for no more than one part in so many, however much waits."""

AT_ONCE = {"cancel_job", "list_jobs", "health_check"}
"""Actions that take no time, and must not wait for those that do."""

QUICK_SLOTS = 4
"""Jobs of these actions that are carried out at a time."""

logger = logging.getLogger(__name__)


class Lane:
    """Jobs of one kind, ``slots`` of which are carried out at a time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.threads: dict[str, threading.Thread] = {}
        self._turns = UserTurns()
        self._running: dict[int, int] = {}
        self._served: dict[int, float] = {}

    def see(self, waiting: Iterable[Waiting], running: dict[int, int]) -> None:
        """Know what waits, and how many jobs of each user run, wherever."""
        self._turns = UserTurns(waiting)
        self._running = dict(running)

    def next(self) -> Waiting | None:
        """Take the job whose turn it is."""
        free = self.slots - len(self.threads)
        job = self._turns.next(self._running, self._served, free=free, slots=self.slots)
        if job is not None:
            self._served[job.uid] = time.monotonic()
        return job

    def count(self, uid: int, more: int) -> None:
        """Know that a user has so many ``more`` running jobs."""
        self._running[uid] = max(0, self._running.get(uid, 0) + more)


class Scheduler:
    """Carries out the jobs of one spool, ``slots`` of them at a time."""

    def __init__(self, service: ServiceContext, replay_guard: str, slots: int) -> None:
        self._spool = Spool(service.staging, service.durability)
        self._inbox = Inbox(self._spool, ReplayGuard(replay_guard))
        self._performer = Performer(service, self._spool)
        self._quick, self._long = self._lanes = (Lane(QUICK_SLOTS), Lane(slots))
        self._files: dict[str, str] = {}
        self._under_way: dict[str, tuple[Record, int]] = {}
        self._changed = threading.Condition()
        self._look_at = 0.0
        self._has_ended = False
        self._stopped = False
        self._trouble: dict[str, str] = {}

    def run(self) -> None:
        """Work until :meth:`stop`."""
        while not self._stopped:
            if time.monotonic() >= self._look_at:
                self._look()
            tried = [self._take(lane) for lane in self._lanes]
            if not any(tried):
                with self._changed:
                    left = max(0.0, self._look_at - time.monotonic())
                    self._changed.wait_for(lambda: self._stopped or self._has_ended, left)
                    self._has_ended = False

    def stop(self, grace: float) -> bool:
        """Take no more jobs; whether those under way ended within ``grace`` seconds.

        Others are left to whoever takes them up next, which goes on with them.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            while self._under_way and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            for record, attempt in self._under_way.values():
                self._performer.leave(record, attempt)
            return not self._under_way

    def _look(self) -> None:
        """Find out what waits."""
        began = time.monotonic()
        try:
            seen = self._spool.look()
            arrived = self._inbox.waiting(besides=seen.known)
        except (OSError, GobblerError) as error:
            self._tell_trouble("", f"could not look into the spool: {error}")
            self._look_at = time.monotonic() + 10 * LOOK_EVERY
            return
        self._files = {known.job: name for name, known in arrived.items()}
        self._trouble = {
            job: told
            for job, told in self._trouble.items()
            if job in seen.known or job in self._files
        }
        waiting = [*arrived.values(), *seen.free]
        quick = [job for job in waiting if _is_quick(job) or job.job in seen.cancelled]
        chosen = {job.job for job in quick}
        with self._changed:
            self._quick.see(quick, {})
            self._long.see([job for job in waiting if job.job not in chosen], seen.running)
        took = time.monotonic() - began
        self._look_at = began + max(LOOK_EVERY, LOOK_SHARE * took)

    def _take(self, lane: Lane) -> bool:
        """Try to begin the next job; whether there was one to try."""
        with self._changed:
            waiting = lane.next()
        if waiting is None or self._stopped:
            return False
        try:
            self._begin(waiting, lane)
        except (OSError, GobblerError) as error:
            # One that can't be begun must not be in the way of the others.
            self._tell_trouble(
                waiting.job, f"could not begin job {quoted(waiting.job)} yet: {error}"
            )
        return True

    def _tell_trouble(self, job: str, message: str) -> None:
        if self._trouble.get(job) != message:
            self._trouble[job] = message
            logger.error("%s", message)

    def _begin(self, waiting: Waiting, lane: Lane) -> None:
        job: str | None = waiting.job
        if waiting.job in self._files:
            job = self._inbox.claim(self._files.pop(waiting.job))
        lease = None if job is None else self._spool.hold(job)
        if job is None or lease is None:
            return
        try:
            begun = self._begin_held(job)
        except BaseException:
            lease.release()
            raise
        if begun is None:
            lease.release()
            return
        thread = threading.Thread(
            target=self._perform, args=(lane, lease, *begun), name=f"job {job}", daemon=True
        )
        with self._changed:
            lane.threads[job] = thread
            lane.count(waiting.uid, 1)
            self._under_way[job] = begun
        thread.start()

    def _begin_held(self, job: str) -> tuple[Record, int] | None:
        known = self._spool.records.of(job)
        if known is not None and known.claimed is not None:
            self._inbox.go_on(job, known.claimed, has_record=known.attempts is not None)
            known = self._spool.records.of(job)
        if known is None or known.attempts is None:
            return None
        record = self._spool.begin(job, known.attempts)
        return None if record is None else (record, known.attempts + 1)

    def _perform(self, lane: Lane, lease: Lease, record: Record, attempt: int) -> None:
        try:
            self._performer.perform(lease, record, attempt)
        finally:
            with self._changed:
                del lane.threads[record.job], self._under_way[record.job]
                lane.count(record.uid, -1)
                self._has_ended = True
                self._changed.notify_all()


def _is_quick(job: Waiting) -> bool:
    return action_of(job.job.partition("-")[2]) in AT_ONCE
