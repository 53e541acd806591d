"""Performing one job of the spool: carried out, followed, answered; once, whoever dies."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

import msgspec

from gobbler.actions.context import Requester, ServiceContext
from gobbler.errors import Cancelled, Code, Fault, GobblerError, quoted
from gobbler.fs.clock import now
from gobbler.fs.lease import Lease
from gobbler.model.jobs import (
    CANCELLED,
    JobProgress,
    JobState,
    final_state,
    job_answer,
    progress_after,
)
from gobbler.model.records import format_time
from gobbler.registry.recovery import recover_workspace, remove_workspace
from gobbler.registry.workspace import WorkspaceInUse
from gobbler.service.outcome import Outcome, failed, log_outcome, outcome_of
from gobbler.spool.job_store import Record
from gobbler.spool.spool import Spool

TELL_EVERY = 0.5
"""Seconds between two reports of progress, and between two looks for a cancellation."""

PAUSE = 1.0
"""Seconds before a job that could not be begun or answered now is tried again."""

MAX_ATTEMPTS = 10
"""After so many workers have died of it a job is given up."""

logger = logging.getLogger(__name__)


class JobMonitor:
    """The progress and the cancel token of a job: reports the one, and looks for the other."""

    def __init__(self, spool: Spool, lease: Lease, state: JobState) -> None:
        self.state = state
        self._spool = spool
        self._presence = lease
        self._begun = time.monotonic()
        self._next = self._begun + TELL_EVERY
        self._files = self._size = 0
        self._expected: tuple[int, int | None] | None = None
        self._told = JobProgress()

    def expect(self, files: int, size: int | None) -> None:
        """Know what there is to do."""
        self._expected = files, size
        self._files = self._size = 0

    def advance(self, files: int, size: int) -> None:
        """Know what is done."""
        self._files += files
        self._size += size

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` once the owner wants the job no more."""
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + TELL_EVERY
        self._presence.renew()
        if self._spool.records.is_cancelled(self.state.job):
            raise Cancelled(CANCELLED, hint="Nothing was changed.")
        progress = self.progress()
        if progress != self._told:
            self._told = progress
            with suppress(OSError):  # a full disk must not end what may need no more space
                self._spool.answers.tell(msgspec.structs.replace(self.state, progress=progress))

    def progress(self) -> JobProgress:
        """What is known of it now."""
        seconds = time.monotonic() - self._begun
        files, size = self._files, self._size
        if self._expected is not None:
            # A file that was compared in vain is counted once more when it is copied.
            files = min(files, self._expected[0])
            if self._expected[1] is not None:
                size = min(size, self._expected[1])
        return progress_after(seconds, files, size, self._expected)


class Performer:
    """Performs jobs of ``spool`` on ``site``, in the calling thread."""

    def __init__(self, service: ServiceContext, spool: Spool) -> None:
        self._site = service
        self._spool = spool

    def perform(self, lease: Lease, record: Record, attempt: int) -> None:
        """Carry out the job of ``record``, begun for the ``attempt``-th time, and answer it."""
        state = msgspec.structs.replace(
            record.state(), state="running", started=format_time(now()), attempts=attempt
        )
        monitor = JobMonitor(self._spool, lease, state)
        started = time.monotonic()
        try:
            if self._spool.answers.has(record.job):
                # Somebody was killed right after answering it.
                self._spool.answers.complete(record.state())
                self._end(record, attempt)
                return
            self._spool.answers.tell(state)
            outcome = self._outcome(record, attempt, monitor)
            if isinstance(outcome.error, WorkspaceInUse):
                self._give_back(record, attempt, outcome.error)
            else:
                self._finish(record, monitor, attempt, outcome)
                log_outcome(record.name, record.user, outcome, started)
        except (OSError, GobblerError) as error:
            # What was done will not be done again but answered.
            self._give_back(record, attempt, error)
        except Exception as error:
            logger.exception("job %s: an error that nobody has thought of", quoted(record.job))
            self._give_back(record, attempt, error)
        finally:
            lease.release()

    def _give_back(self, record: Record, attempt: int, error: Exception) -> None:
        logger.warning("job %s will be tried again: %s", quoted(record.job), error)
        time.sleep(PAUSE)
        with suppress(OSError):  # it has ended, but for a last step; or has one attempt less
            self._spool.records.give_back(record.job, attempt)

    def leave(self, record: Record, attempt: int) -> None:
        """Leave a job that is under way to the next worker: that this one ends is no fault of it.

        Whatever still happens to it here is like what happens right before a crash.
        """
        with suppress(OSError, GobblerError):
            self._spool.records.give_back(record.job, attempt)
            self._spool.answers.tell(record.state())

    def _outcome(self, record: Record, attempt: int, monitor: JobMonitor) -> Outcome:
        try:
            earlier = recover_workspace(
                self._site.registry, self._site.durability, record.workspace
            )
        except WorkspaceInUse as error:
            return failed(error)
        if earlier is not None:
            return Outcome({"status": "SUCCESS", **earlier})
        if attempt > MAX_ATTEMPTS:
            return failed(
                Fault(
                    f"the job was begun {MAX_ATTEMPTS} times, and each time its worker died",
                    code=Code.WORKER_DIED,
                    hint="The logs of the workers tell more.",
                )
            )
        if self._spool.records.is_cancelled(record.job):
            return failed(Cancelled(CANCELLED, hint="Nothing was changed."))
        requester = Requester(record.uid, record.user)
        return outcome_of(
            self._site,
            record.name,
            record.data,
            requester,
            progress=monitor,
            cancel=monitor,
            workspace_name=record.workspace,
        )

    def _finish(self, record: Record, monitor: JobMonitor, attempt: int, outcome: Outcome) -> None:
        answer = job_answer(outcome.body, outcome.status)
        state = msgspec.structs.replace(
            monitor.state,
            state=final_state(answer),
            finished=format_time(now()),
            progress=monitor.progress(),
            answer=answer,
        )
        self._spool.answers.finish(state)
        self._end(record, attempt)

    def _end(self, record: Record, attempt: int) -> None:
        # The record goes last: by it the rest is found after a crash.
        remove_workspace(self._site.registry, self._site.durability, record.workspace)
        self._spool.tidy_away(record.job, attempt)
