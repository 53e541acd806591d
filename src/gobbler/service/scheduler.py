"""The scheduler: takes jobs from the spool and runs a few at a time.

It runs in a worker process, below a service or alone. Any number of them may share one spool, on
any hosts that mount its directories.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from gobbler.actions.context import ServiceContext
from gobbler.errors import GobblerError, quoted
from gobbler.fs.lease import Lease
from gobbler.model.requests import action_of
from gobbler.rules.fairness import UserTurns, Waiting
from gobbler.service.job_runner import JobRunner
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.outcome import RequestHandler
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import JobRecord, PendingJob, next_attempt
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

SURVEY_INTERVAL = 0.1
"""Seconds between two surveys of the spool."""

SURVEY_SHARE = 4
"""A scheduler spends at most one in ``SURVEY_SHARE`` parts of its time on surveys."""

QUICK_ACTIONS = {"cancel_job", "list_jobs", "health_check"}
"""Quick actions, which must not wait for slow ones."""

QUICK_SLOTS = 4
"""Jobs of these actions that run at a time."""

logger = logging.getLogger(__name__)


class Begun(NamedTuple):
    """A job that has begun here for the ``attempt``-th time."""

    lease: Lease
    record: JobRecord
    attempt: int


class Lane:
    """Jobs of one kind, ``slots`` of which run at a time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.threads: dict[str, threading.Thread] = {}
        self._turns = UserTurns()
        self._running: dict[int, int] = {}
        self._served: dict[int, float] = {}

    def update(self, waiting: Iterable[Waiting], running: dict[int, int]) -> None:
        """Set which jobs wait, and how many jobs of each user run anywhere."""
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
        """Add ``more`` to the number of running jobs of a user."""
        self._running[uid] = max(0, self._running.get(uid, 0) + more)


class Scheduler:
    """Runs the jobs of one spool, ``slots`` of them at a time."""

    def __init__(
        self,
        service: ServiceContext,
        replay_guard: str,
        slots: int,
        metrics: Metrics | None = None,
    ) -> None:
        self._spool = Spool(service.staging, service.durability)
        self._inbox = Inbox(self._spool, ReplayGuard(replay_guard))
        self._runner = JobRunner(RequestHandler(service, metrics), self._spool)
        self._quick, self._long = self._lanes = (Lane(QUICK_SLOTS), Lane(slots))
        self._files: dict[str, str] = {}
        self._jobs: dict[str, PendingJob] = {}
        self._running: dict[str, Begun] = {}
        self._changed = threading.Condition()
        self._next_survey = 0.0
        self._has_ended = False
        self._stopped = False
        self._problems: dict[str, str] = {}

    def run(self) -> None:
        """Run jobs until :meth:`stop`."""
        while not self._stopped:
            if time.monotonic() >= self._next_survey:
                self.survey()
            tried = [self.take(lane) for lane in self._lanes]
            if not any(tried):
                with self._changed:
                    left = max(0.0, self._next_survey - time.monotonic())
                    self._changed.wait_for(lambda: self._stopped or self._has_ended, left)
                    self._has_ended = False

    def stop(self, grace: float) -> bool:
        """Take no more jobs; whether those that run ended within ``grace`` seconds.

        Another worker resumes the others.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            for begun in self._running.values():
                self._runner.abandon(begun.record, begun.attempt)
            return not self._running

    def survey(self) -> None:
        """Find out which jobs wait."""
        began = time.monotonic()
        try:
            found = self._spool.survey()
            arrived = self._inbox.waiting(besides=found.jobs)
        except (OSError, GobblerError) as error:
            self._log_once("", f"could not list the spool {self._spool.new}: {error}")
            self._next_survey = time.monotonic() + 10 * SURVEY_INTERVAL
            return
        self._jobs = found.jobs
        self._files = {waiting.job: name for name, waiting in arrived.items()}
        self._problems = {
            job: message
            for job, message in self._problems.items()
            if job in found.jobs or job in self._files
        }
        waiting = [*arrived.values(), *found.free]
        quick = [job for job in waiting if _is_quick(job) or job.job in found.cancelled]
        chosen = {job.job for job in quick}
        with self._changed:
            self._quick.update(quick, {})
            self._long.update([job for job in waiting if job.job not in chosen], found.running)
        took = time.monotonic() - began
        self._next_survey = began + max(SURVEY_INTERVAL, SURVEY_SHARE * took)

    def take(self, lane: Lane) -> bool:
        """Try to begin the next job of ``lane``; whether there was one to try."""
        with self._changed:
            waiting = lane.next()
        if waiting is None or self._stopped:
            return False
        try:
            self._start(waiting, lane)
        except (OSError, GobblerError) as error:
            # A job that can't begin must not hold up the others.
            self._log_once(
                waiting.job,
                f"could not begin job {quoted(waiting.job)}; the next survey retries it: {error}",
            )
        return True

    def _log_once(self, job: str, message: str) -> None:
        if self._problems.get(job) != message:
            self._problems[job] = message
            logger.error("%s", message)

    def _start(self, waiting: Waiting, lane: Lane) -> None:
        begun = self._begin(waiting)
        if begun is None:
            return
        job = begun.record.job
        thread = threading.Thread(
            target=self._run, args=(lane, begun), name=f"job {job}", daemon=True
        )
        with self._changed:
            lane.threads[job] = thread
            lane.count(waiting.uid, 1)
            self._running[job] = begun
        thread.start()

    def _begin(self, waiting: Waiting) -> Begun | None:
        """Acquire the lease of a job, once, and begin it."""
        job, pending = waiting.job, self._jobs.get(waiting.job, PendingJob())
        if (name := self._files.pop(job, None)) is not None:
            claimed = self._inbox.claim(name)
            if claimed is None:
                return None
            job, lease = claimed
            pending = PendingJob(attempts=0)
        elif (acquired := self._spool.acquire(job)) is not None:
            lease = acquired
        else:
            return None
        begun: Begun | None = None
        try:
            begun = self._begin_held(job, pending, lease)
        finally:
            if begun is None:
                lease.release()
        return begun

    def _begin_held(self, job: str, pending: PendingJob, lease: Lease) -> Begun | None:
        attempts = pending.attempts
        if pending.claim is not None:
            try:
                has_record = self._inbox.complete_claim(
                    job, pending.claim, has_record=attempts is not None
                )
            except FileNotFoundError:
                return None  # another worker completed it since the survey
            attempts = (attempts or 0) if has_record else None
        if attempts is None:
            return None
        record = self._spool.begin(job, attempts)
        return None if record is None else Begun(lease, record, next_attempt(attempts))

    def _run(self, lane: Lane, begun: Begun) -> None:
        record = begun.record
        try:
            self._runner.run(begun.lease, record, begun.attempt)
        finally:
            with self._changed:
                del lane.threads[record.job], self._running[record.job]
                lane.count(record.uid, -1)
                self._has_ended = True
                self._changed.notify_all()


def _is_quick(job: Waiting) -> bool:
    return action_of(job.job.partition("-")[2]) in QUICK_ACTIONS
