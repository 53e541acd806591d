"""The job runner: carries out one job of the spool, reports its progress, and answers it.

The change is made once, even if workers die and the job begins again.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

import msgspec

from gobbler.actions import remarks
from gobbler.actions.context import Requester
from gobbler.errors import Cancelled, CancelledByOwner, Code, Fault, GobblerError, quoted
from gobbler.fs.clock import now
from gobbler.fs.lease import Lease
from gobbler.fs.reserve import is_full, with_reserve
from gobbler.model.jobs import (
    CANCELLED,
    JobProgress,
    JobState,
    final_state,
    job_answer,
    progress_after,
)
from gobbler.model.records import format_time, parse_time
from gobbler.model.requests import action_of
from gobbler.registry.attempt import Attempt, Superseded
from gobbler.registry.recovery import recover_workspace, remove_workspace
from gobbler.registry.workspace import WorkspaceInUse
from gobbler.rules.ended_attempt import ends_worker, is_retried
from gobbler.service.outcome import Outcome, RequestHandler, failed
from gobbler.spool.job_store import MAX_ATTEMPTS, JobRecord
from gobbler.spool.spool import Spool

REPORT_INTERVAL = 0.5
"""Seconds between two reports of progress, and between two checks for a cancellation."""

RETRY_PAUSE = 1.0
"""Seconds before a job that could not begin or be answered is retried."""

BUSY_SECONDS = 86_400.0
"""Seconds after its first attempt at which a job fails that finds a lock held each time."""

WAITS_FOR_WORKER = "waiting for another worker: the executor of the one that had begun is broken"

logger = logging.getLogger(__name__)


class JobMonitor:
    """The progress and the cancel token of a job: writes its state, and checks its mark."""

    def __init__(
        self, spool: Spool, lease: Lease, attempt: Attempt, record: JobRecord, state: JobState
    ) -> None:
        self.state = state
        self.lease = lease
        self.attempt = attempt
        self.is_abandoned = False
        self.busy_since: str | None = None
        self._spool = spool
        self._record = record
        self._begun = time.monotonic()
        self._next = self._begun + REPORT_INTERVAL
        self._files = self._size = 0
        self._waits_for = ""
        self._expected: tuple[int, int | None] | None = None
        self._reported = JobProgress()

    def expect(self, files: int, size: int | None) -> None:
        """Set the total."""
        self._expected = files, size
        self._files = self._size = 0

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._files += files
        self._size += size

    def waits_for(self, note: str) -> None:
        """Note what the job waits for."""
        self._waits_for = note

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` once the owner has cancelled the job.

        Also renews the lease and reports progress.
        """
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + REPORT_INTERVAL
        self.lease.renew()
        if self.lease.is_lost() or self.lease.is_taken_over():
            self._regain()
        if self._spool.records.is_cancelled(self.state.job):
            raise _cancelled()
        self.report()

    def report(self) -> None:
        """Let users read the progress, if it has changed."""
        progress = self.progress()
        if progress != self._reported and not self.is_abandoned:
            self._reported = progress
            with suppress(OSError):  # a full disk must not end a job that may need no more space
                self._spool.answers.write_state(
                    msgspec.structs.replace(self.state, progress=progress)
                )

    def has_waited_long(self) -> bool:
        """Whether the job was begun first so long ago that it is not given back again."""
        since = None if self.busy_since is None else parse_time(self.busy_since)
        return since is not None and (now() - since).total_seconds() >= BUSY_SECONDS

    def _regain(self) -> None:
        """Acquire the lease again: something has removed it, perhaps with the whole spool."""
        with suppress(OSError):  # the next check tries again
            if not self.attempt.is_current():
                raise Cancelled("another worker has taken the job over", code=Code.CONTENTION)
            lease = self._spool.regain(self._record, self.state.attempts)
            if lease is not None:
                self.lease.close()
                self.lease = lease
                self._spool.answers.write_state(self.state)

    def progress(self) -> JobProgress:
        """The progress now."""
        seconds = time.monotonic() - self._begun
        files, size = self._files, self._size
        if self._expected is not None:
            # A file that turned out not to be a duplicate is counted again when it is copied.
            files = min(files, self._expected[0])
            if self._expected[1] is not None:
                size = min(size, self._expected[1])
        found = progress_after(seconds, files, size, self._expected)
        if not self._waits_for:
            return found
        return msgspec.structs.replace(found, waits_for=self._waits_for)


class JobRunner:
    """Runs jobs of ``spool``, each in the thread that calls it."""

    def __init__(self, requests: RequestHandler, spool: Spool) -> None:
        self._requests = requests
        self._service = requests.service
        self._spool = spool
        self._monitors: dict[str, JobMonitor] = {}
        self.broken: GobblerError | None = None
        """Why this process can run no more jobs, if that is so."""

    def run(self, lease: Lease, record: JobRecord, attempt: int) -> bool:
        """Run the job of ``record`` for the ``attempt``-th time, answer it, and release it.

        Returns whether it is answered, or another worker's. Otherwise it is to be tried again.
        """
        state = msgspec.structs.replace(
            record.state(), state="running", started=format_time(now()), attempts=attempt
        )
        token = Attempt(self._service.registry.root, record.workspace)
        monitor = JobMonitor(self._spool, lease, token, record, state)
        self._monitors[record.job] = monitor
        try:
            return self._run(record, monitor, attempt)
        except Superseded:
            monitor.attempt.withdraw()
            logger.info("job %s: another worker has taken it over", quoted(record.job))
            return True
        except (OSError, GobblerError) as error:
            # A change that was made is not made again: the next attempt only answers it.
            self._give_back(record, monitor, attempt, error)
        except Exception as error:
            logger.exception("job %s: unexpected error", quoted(record.job))
            self._give_back(record, monitor, attempt, error)
        finally:
            del self._monitors[record.job]
            monitor.lease.release()
        return False

    def _run(self, record: JobRecord, monitor: JobMonitor, attempt: int) -> bool:
        started = time.monotonic()
        if self._spool.answers.has(record.job):
            # The worker was killed right after it had answered.
            self._spool.answers.complete(record.state())
            self._end(record, monitor, attempt)
            return True
        reserves = self._service.reserves_for(action_of(record.name))
        with_reserve(
            reserves,
            lambda: monitor.attempt.begin(
                lambda: self._spool.records.has_begun(record.job, attempt)
            ),
        )
        monitor.busy_since = self._busy_since(record)
        if not self._spool.records.is_cancelled(record.job):
            self._show(monitor.state)
        answer = monitor.attempt.earlier_answer()
        if answer is None:
            outcome = self._outcome(record, attempt, monitor)
            error = outcome.error
            if error is not None and is_retried(error) and not monitor.has_waited_long():
                self._give_back(record, monitor, attempt, error)
                return False
            if error is not None and ends_worker(error):
                self._leave(record, attempt, error)
                return False
            answer = job_answer(outcome.body, outcome.status)
            found = answer
            with_reserve(reserves, lambda: monitor.attempt.answer(found))
            self._requests.log_job(record.name, record.user, outcome, started, record.data)
        self._deliver(record, monitor, attempt, answer)
        return True

    def _show(self, state: JobState) -> None:
        """Let users read that the job runs, if there is room for that."""
        try:
            self._spool.answers.write_state(state)
        except (OSError, GobblerError) as error:
            if not is_full(error):
                raise

    def _give_back(
        self, record: JobRecord, monitor: JobMonitor, attempt: int, error: Exception
    ) -> None:
        """Let the job wait, without counting this attempt; its state says what for."""
        logger.warning("could not begin or answer job %s; retrying: %s", quoted(record.job), error)
        started = monitor.state.started
        state = msgspec.structs.replace(
            record.state(),
            started=started if monitor.busy_since is None else monitor.busy_since,
            attempts=attempt - 1,
            progress=JobProgress(waits_for=str(error)),
        )
        with suppress(OSError):  # a full disk, perhaps
            self._spool.answers.write_state(state)
        time.sleep(RETRY_PAUSE)
        with suppress(OSError):  # then it is answered, or has one attempt less
            self._spool.records.give_back(record.job, attempt)

    def _leave(self, record: JobRecord, attempt: int, error: GobblerError) -> None:
        """Leave the job to another process. The attempt counts, as if this process had died."""
        logger.error("could not go on with job %s: %s", quoted(record.job), error.message)
        self.broken = error
        state = msgspec.structs.replace(
            record.state(), attempts=attempt, progress=JobProgress(waits_for=WAITS_FOR_WORKER)
        )
        with suppress(OSError):  # a full disk, perhaps
            self._spool.answers.write_state(state)

    def _busy_since(self, record: JobRecord) -> str | None:
        """When the job was begun first, if it was given back since; its state says so."""
        try:
            state = self._spool.answers.state(record.job, with_answer=False)
        except GobblerError:
            return None
        return state.started if state.state == "waiting" else None

    def abandon(self, record: JobRecord, attempt: int) -> None:
        """Leave a running job to the next worker, without counting this attempt.

        Its thread may still run, as it would right before a crash.
        """
        monitor = self._monitors.get(record.job)
        if monitor is not None:
            monitor.is_abandoned = True
        with suppress(OSError, GobblerError):
            self._spool.records.give_back(record.job, attempt)
            self._spool.answers.write_state(record.state())

    def _outcome(self, record: JobRecord, attempt: int, monitor: JobMonitor) -> Outcome:
        registry, durability = self._service.registry, self._service.durability
        try:
            earlier = recover_workspace(registry, durability, record.workspace)
        except WorkspaceInUse as error:
            return failed(error)
        if earlier is not None:
            return Outcome({"status": "SUCCESS", **earlier, **remarks(record.name, record.data)})
        if attempt > MAX_ATTEMPTS:
            return failed(
                Fault(
                    f"the job began {MAX_ATTEMPTS} times, and each time its worker died",
                    code=Code.WORKER_DIED,
                    hint="See the logs of the workers.",
                )
            )
        if self._spool.records.is_cancelled(record.job):
            return failed(_cancelled())
        return self._requests.carry_out(
            record.name,
            record.data,
            Requester(record.uid, record.user),
            progress=monitor,
            cancel=monitor,
            workspace_name=record.workspace,
        )

    def _deliver(
        self, record: JobRecord, monitor: JobMonitor, attempt: int, answer: dict[str, object]
    ) -> None:
        """Let the user read the answer, and remove the job."""
        # Who reads right after the answer was written still finds this state.
        monitor.report()
        state = msgspec.structs.replace(
            monitor.state,
            state=final_state(answer),
            finished=format_time(now()),
            progress=monitor.progress(),
            answer=answer,
        )
        with_reserve(
            self._service.reserves_for(action_of(record.name)),
            lambda: self._spool.answers.write_answer(state),
        )
        self._end(record, monitor, attempt)

    def _end(self, record: JobRecord, monitor: JobMonitor, attempt: int) -> None:
        # The record goes last: after a crash it leads to the rest.
        remove_workspace(self._service.registry, self._service.durability, record.workspace)
        monitor.attempt.end()
        self._spool.remove(record.job, attempt)


def _cancelled() -> CancelledByOwner:
    return CancelledByOwner(CANCELLED, hint="Nothing was changed.")
