"""The scheduler: takes jobs from the spool and runs a few at a time.

It runs in a worker process, below a service or alone. Any number of them may share one spool, on
any hosts that mount its directories.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import Counter
from typing import NamedTuple

from gobbler.actions.context import ServiceContext
from gobbler.errors import GobblerError, quoted
from gobbler.fs.lease import Lease
from gobbler.model.jobs import split_job
from gobbler.model.requests import action_of
from gobbler.rules.fairness import UserTurns, Waiting
from gobbler.service.job_runner import JobRunner
from gobbler.service.metrics.metrics import Metrics
from gobbler.service.outcome import RequestHandler
from gobbler.spool.backlog import Backlog
from gobbler.spool.inbox import Inbox
from gobbler.spool.job_store import JobRecord, PendingJob, next_attempt
from gobbler.spool.preservation import restore
from gobbler.spool.replay_guard import ReplayGuard
from gobbler.spool.spool import Spool

LONGEST_WAIT = 30.0
"""Seconds after which the scheduler looks at the spool though nothing is reported."""

SETTLE = 0.01
"""Seconds to wait for further changes in the spool while jobs run."""

FIRST_RETRY = 1.0
LONGEST_RETRY = 30.0
"""Seconds after which a job that could not begin is tried again: at first, and in the end."""

FAILURE_PAUSE = 1.0
"""Seconds before the spool is listed again after that has failed."""

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
        self.turns = UserTurns()
        self.owners: dict[str, int] = {}
        self._served: dict[int, float] = {}

    def next(self, elsewhere: Counter[int]) -> Waiting | None:
        """Take the job whose turn it is, if a slot is free for it.

        ``elsewhere``: the number of jobs of each user that other processes run.
        """
        free = self.slots - len(self.owners)
        running = elsewhere + Counter(self.owners.values())
        job = self.turns.next(running, self._served, free=free, slots=self.slots)
        if job is not None:
            self._served[job.uid] = time.monotonic()
        return job


class _Retry(NamedTuple):
    failures: int
    due: float
    is_hurried: bool = False


class _Retries:
    """Jobs that could not begin, or were given back, and when each is tried again."""

    def __init__(self) -> None:
        self._due: list[tuple[float, str]] = []
        self._jobs: dict[str, _Retry] = {}

    def add(self, job: str) -> None:
        """Try a job again, later each time."""
        former = self._jobs.get(job, _Retry(0, 0.0))
        pause = min(FIRST_RETRY * 2.0 ** min(former.failures, 16), LONGEST_RETRY)
        due = time.monotonic() + pause
        retry = self._jobs[job] = _Retry(former.failures + 1, due, former.is_hurried)
        heapq.heappush(self._due, (retry.due, job))

    def forget(self, job: str) -> None:
        """A job has gone, or is another worker's."""
        self._jobs.pop(job, None)

    def must_wait(self, job: str, *, hurried: bool) -> bool:
        """Whether it is too early to try a job again. An attempt changes files, as others do.

        The first time that it is ``hurried``, it may be tried at once.
        """
        retry = self._jobs.get(job)
        if retry is None:
            return False
        if hurried and not retry.is_hurried:
            self._jobs[job] = retry._replace(due=0.0, is_hurried=True)
            return False
        return retry.due > time.monotonic()

    def due(self) -> list[str]:
        """Take the jobs that are to be tried now."""
        found = []
        while self._due and self._due[0][0] <= time.monotonic():
            found.append(heapq.heappop(self._due)[1])
        return found

    def next(self) -> float:
        """When the next one is due (monotonic seconds)."""
        return self._due[0][0] if self._due else float("inf")


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
        self._replay_guard = ReplayGuard(replay_guard)
        self._inbox = Inbox(self._spool, self._replay_guard, service.authorship)
        self._runner = JobRunner(RequestHandler(service, metrics), self._spool)
        self._backlog = Backlog(self._spool, self._inbox)
        self._quick, self._long = self._lanes = (Lane(QUICK_SLOTS), Lane(slots))
        self._running: dict[str, Begun] = {}
        self._ended: dict[str, float] = {}
        self._given_back: list[str] = []
        self._changed = threading.Condition()
        self._retries = _Retries()
        self._stopped = False
        self._problems: dict[str, str] = {}

    @property
    def broken(self) -> GobblerError | None:
        """Why this process can run no more jobs, if that is so."""
        return self._runner.broken

    def run(self) -> None:
        """Run jobs until :meth:`stop`, or until this process is :attr:`broken`.

        No exception ends it.
        """
        while not self._stopped:
            try:
                pause = self._turn()
                if not self._stopped:
                    # A job that runs changes many files; their changes are read together.
                    self._backlog.wait(pause, settle=SETTLE if self._running else 0.0)
            except Exception:
                logger.exception("the scheduler failed, and goes on")
                time.sleep(FAILURE_PAUSE)

    def _turn(self) -> float:
        """Begin what can begin now; the seconds until something may have to be done."""
        if not self.refresh():
            return FAILURE_PAUSE
        for lane in self._lanes:
            while self.take(lane):
                # Each start changes how many jobs run, here and elsewhere.
                self.refresh()
        due = min(self._backlog.next_check, self._retries.next())
        return min(LONGEST_WAIT, max(0.0, due - time.monotonic()))

    def stop(self, grace: float) -> bool:
        """Take no more jobs; whether those that run ended within ``grace`` seconds.

        Another worker resumes the others.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._stopped = True
            self._backlog.wake()
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            for begun in self._running.values():
                self._runner.abandon(begun.record, begun.attempt)
            return not self._running

    def refresh(self) -> bool:
        """Find out which jobs wait now; whether that was possible."""
        try:
            touched = self._look()
        except (OSError, GobblerError) as error:
            self._log_once("", f"could not list the spool {self._spool.new}: {error}")
            for lane in self._lanes:
                lane.turns.clear()
            return False
        self._problems.pop("", None)
        with self._changed:
            # What the backlog says of a job that has just ended may be older than its end.
            known = [job for job, ended in self._ended.items() if ended < self._backlog.as_of]
            for job in known:
                del self._ended[job]
            while self._given_back:
                self._retries.add(self._given_back.pop())
            ours = {*self._running, *self._ended}
        for job in touched.union(known, self._retries.due()):
            self._place(job, ours)
        return True

    def _look(self) -> set[str]:
        try:
            return self._backlog.refresh(self._running.keys())
        except FileNotFoundError:
            for lane in self._lanes:
                lane.turns.clear()
            restore(self._spool, self._replay_guard)
            return self._backlog.refresh(self._running.keys())

    def _place(self, job: str, ours: set[str]) -> None:
        """Let ``job`` wait in its lane, or in none."""
        for lane in self._lanes:
            lane.turns.discard(job)
        waiting = None if job in ours else self._backlog.waiting(job)
        if waiting is None:
            if job not in ours:
                self._retries.forget(job)
            self._problems.pop(job, None)
            return
        is_cancelled = self._backlog.is_cancelled(job)
        if self._retries.must_wait(job, hurried=is_cancelled):
            return
        is_quick = _is_quick(waiting) or is_cancelled
        (self._quick if is_quick else self._long).turns.add(waiting)

    def take(self, lane: Lane) -> bool:
        """Try to begin the next job of ``lane``; whether there was one to try."""
        with self._changed:
            ours = {*self._running, *self._ended}
            elsewhere = self._backlog.running(besides=ours) if lane is self._long else Counter()
            waiting = lane.next(elsewhere)
        if waiting is None or self._stopped:
            return False
        has_begun = False
        try:
            has_begun = self._start(waiting, lane)
        except (OSError, GobblerError) as error:
            # A job that can't begin must not hold up the others.
            self._log_once(
                waiting.job, f"could not begin job {quoted(waiting.job)}; trying again: {error}"
            )
        except Exception:
            logger.exception("could not begin job %s; trying again", quoted(waiting.job))
        if not has_begun:
            self._retries.add(waiting.job)
            self._backlog.look_again(waiting.job)
        return True

    def _log_once(self, job: str, message: str) -> None:
        if self._problems.get(job) != message:
            self._problems[job] = message
            logger.error("%s", message)

    def _start(self, waiting: Waiting, lane: Lane) -> bool:
        begun = self._begin(waiting)
        if begun is None:
            return False
        job = begun.record.job
        thread = threading.Thread(
            target=self._run, args=(lane, begun), name=f"job {job}", daemon=True
        )
        with self._changed:
            lane.threads[job] = thread
            lane.owners[job] = begun.record.uid
            self._running[job] = begun
        try:
            thread.start()
        except BaseException:  # no more threads, perhaps: the job waits again
            self._end(lane, begun, is_settled=False)
            self._runner.abandon(begun.record, begun.attempt)
            begun.lease.release()
            raise
        return True

    def _begin(self, waiting: Waiting) -> Begun | None:
        _, name = split_job(waiting.job)
        return self._spool.drawing_on_reserve(name, lambda: self._begin_once(waiting))

    def _begin_once(self, waiting: Waiting) -> Begun | None:
        """Acquire the lease of a job, once, and begin it."""
        job, pending = waiting.job, self._backlog.pending(waiting.job)
        if (name := self._backlog.file_of(job)) is not None:
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
        record, is_settled = begun.record, False
        try:
            is_settled = self._runner.run(begun.lease, record, begun.attempt)
        except Exception:
            logger.exception("the thread of job %s failed", quoted(record.job))
        finally:
            self._stopped = self._stopped or self.broken is not None
            self._end(lane, begun, is_settled=is_settled)

    def _end(self, lane: Lane, begun: Begun, *, is_settled: bool) -> None:
        """Note that a job does not run here any more, and is tried again unless it is settled."""
        job = begun.record.job
        with self._changed:
            del lane.threads[job], lane.owners[job], self._running[job]
            self._ended[job] = time.monotonic()
            if not is_settled:
                self._given_back.append(job)
            self._changed.notify_all()
        self._backlog.wake()


def _is_quick(job: Waiting) -> bool:
    return action_of(job.job.partition("-")[2]) in QUICK_ACTIONS
