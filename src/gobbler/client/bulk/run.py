"""A bulk run: carries out many requests, a few at a time, and can be resumed later."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gobbler.client import errors
from gobbler.client.bulk.ledger import Claims, Ledger, RunRecord, hold_claims
from gobbler.client.bulk.targets import BulkService, exists
from gobbler.client.parallel import Stop, in_turn
from gobbler.client.registry_walk import SkippedEntry
from gobbler.client.retry import call_with_retries
from gobbler.errors import Cancelled, Code, Missing, Unreachable
from gobbler.fs.clock import time_at
from gobbler.model.progress import NoProgress, Progress
from gobbler.rules.bulk import Work, seconds_left

R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class BulkProgress(Progress, Protocol):
    """Receives the progress of a bulk run; called from several threads at once.

    The run announces its total in versions, and advances by versions, files and bytes. In a
    refresh, a project or an asset counts as a version.
    """

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Announce the total; ``size`` in bytes becomes known as the run goes on."""

    def advance_versions(self, versions: int) -> None:
        """Add ``versions`` to what is done."""

    def note(self, text: str) -> None:
        """Show a message to the user."""


class NoBulkProgress(NoProgress):
    """Ignores the progress of a bulk run; notes go to the log."""

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Do nothing."""

    def advance_versions(self, versions: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Log it."""
        logger.warning("%s", text)


class BulkCounter(NoProgress):
    """Counts what a bulk run has done, and estimates how long the rest takes.

    ``versions``, ``files`` and ``bytes`` are done, of ``versions_expected`` versions and
    ``bytes_expected`` bytes, which is ``None`` until it is known.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.versions = self.files = self.bytes = 0
        self.versions_expected = 0
        self.bytes_expected: int | None = None

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Set the total."""
        self.versions_expected, self.bytes_expected = versions, size

    def advance_versions(self, versions: int) -> None:
        """Add versions to what is done."""
        self.versions += versions

    def advance(self, files: int, size: int) -> None:
        """Add files and bytes to what is done."""
        self.files += files
        self.bytes += size

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / max(time.monotonic() - self._started, 1e-3)

    @property
    def seconds_left(self) -> float | None:
        """An estimate for the rest; ``None`` until something is done."""
        done = Work(self.versions, 0)
        left = Work(self.versions_expected - self.versions, 0)
        if self.bytes_expected is not None:
            done = Work(self.versions, max(0, self.bytes))
            left = Work(left.versions, max(0, self.bytes_expected - self.bytes))
        return seconds_left(time.monotonic() - self._started, done, left)


class TargetProgress:
    """The progress of one target within a bulk run; it starts over when its job does."""

    def __init__(self, progress: BulkProgress, stop: Stop, claims: Claims) -> None:
        self._progress = progress
        self._stop = stop
        self._claims = claims
        self._files = self._bytes = 0

    def expect(self, files: int, size: int | None) -> None:
        """Start over: the work begins, or begins again."""
        del files, size
        self.reach(0, 0)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done; :class:`~gobbler.errors.Cancelled` if the run was stopped."""
        self._stop.check()
        self._claims.renew()
        self.reach(self._files + files, self._bytes + size)

    def reach(self, files: int, size: int) -> None:
        """Set what is done in all."""
        self._progress.advance(files - self._files, size - self._bytes)
        self._files, self._bytes = files, size


@dataclass(frozen=True)
class BulkRequester:
    """Sends requests to ``service``, and again while none answers."""

    service: BulkService
    progress: BulkProgress
    retry_seconds: float

    def ask(self, call: Callable[[], T], stop: Stop | None = None) -> T:
        """Return what ``call`` returns; it must do no harm when it is called twice."""
        return call_with_retries(call, stop or Stop(), self.progress.note, self.retry_seconds)

    def request(
        self, target: TargetProgress, stop: Stop, action: str, *, long: bool, **fields: object
    ) -> dict[str, object]:
        """Send ``action`` and return the answer; a ``long`` one as a job that reports progress.

        A job survives a restart of the service. It is cancelled on ``stop`` and Ctrl-C.
        """
        if self.service.url and not long:
            return self.ask(lambda: self.service.request(action, **fields), stop)
        job = self.ask(lambda: self.service.start(action, **fields), stop)
        try:
            return self.ask(lambda: job.wait(progress=target, pause=stop.wait), stop)
        except Missing:
            try:
                job.state()
            except Missing:
                raise errors.RequestFailed(
                    f"the service does not know job {job.name} any more",
                    code=Code.JOB_NOT_FOUND,
                    hint="Run the same command again.",
                ) from None
            raise
        except (Cancelled, KeyboardInterrupt):
            job.give_up()
            raise

    def was_deleted(self, error: errors.RequestFailed, *names: str) -> bool:
        """Whether ``error`` is because the project, asset or version no longer exists."""
        return isinstance(error, errors.RequestMissing) and not exists(self.service, *names)


def problems_in(error: errors.RequestFailed) -> tuple[str, ...]:
    """The problems of the target of a request.

    Raises ``error`` if it is not about the target: if no service answered, the user may not send
    such requests, or somebody has cancelled this one.
    """
    if isinstance(error, errors.RequestForbidden | errors.RequestCancelled | Unreachable):
        raise error
    return tuple(error.problems) or (error.reason,)


class BulkRun(ABC, Generic[R]):
    """Tasks that are carried out while you iterate; yields the result of each.

    Attributes:
        tasks: Names of the tasks, in order.
        left: How many of them remain.
        resumed: When the run that this one resumes started; ``None`` for a new run.
        done_before: How many tasks that run had done.
        skipped: What filesystems and file servers have put into the registry; it was left out.

    Each result is recorded at once. If the iteration or the process ends early, another run carries
    out the rest. Several runs may share the tasks at the same time.
    """

    action: str

    def __init__(
        self,
        registry: tuple[str | None, str],
        tasks: Sequence[str],
        *,
        scope: str,
        run: RunRecord | None,
        done_before: int,
        invalid: Sequence[R],
        skipped: Sequence[SkippedEntry],
        parallel: int,
        restart: bool,
        progress: BulkProgress | None,
    ) -> None:
        self._registry = registry
        self.tasks = tuple(tasks)
        self.scope = scope
        self.resumed: dt.datetime | None = None if run is None else time_at(run.started)
        self.done_before = done_before
        self.is_used_up = False
        self.skipped = tuple(entry for entry in skipped if not entry.is_wrong)
        self._invalid = tuple(invalid)
        self._parallel = parallel
        self._restart = restart
        self._progress = progress or NoBulkProgress()
        self._run: RunRecord | None = None
        self._done: set[str] = set()
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """The number of ``tasks`` that remain."""
        return len(self.tasks) - len(self._done)

    def __repr__(self) -> str:
        done = f"{len(self._done)} of {len(self.tasks)} done"
        return f"<{type(self).__name__} {self.action} {self.scope or 'everything'}: {done}>"

    def __iter__(self) -> Iterator[R]:
        yield from self._invalid
        if not self.tasks:
            with Ledger(*self._registry) as ledger:
                self._conclude(ledger, [])
            return
        with Ledger(*self._registry) as ledger, hold_claims(ledger) as claims:
            self._begin(ledger)
            others: list[str] = []

            def carry_out(task: str, stop: Stop) -> tuple[str, R | None]:
                try:
                    result = self._carry_out(task, stop, claims)
                    with ledger.transaction():
                        self._record(ledger, task, result)
                        ledger.release(claims.holder, task)
                except BaseException:
                    ledger.release(claims.holder, task)
                    raise
                self._count(task)
                return task, result

            tasks: Sequence[str] = self.tasks
            while tasks:
                pending = self._pending(tasks, ledger, claims, others)
                postponed: dict[str, R] = {}
                has_changed = False
                # Closed before the ledger is, so that no thread writes into a closed one.
                with contextlib.closing(in_turn(carry_out, pending, self._parallel)) as ended:
                    for task, result in ended:
                        if result is not None and self._should_retry(result):
                            postponed[task] = result
                            continue
                        has_changed = True
                        if result is not None:
                            yield result
                tasks = list(postponed) if has_changed else ()
                if not tasks:
                    yield from postponed.values()
            self._conclude(ledger, others)

    def _pending(
        self, tasks: Sequence[str], ledger: Ledger, claims: Claims, others: list[str]
    ) -> Iterator[str]:
        """Claim those of ``tasks`` that are not done; what ``others`` have claimed goes there."""
        for task in tasks:
            if self._is_over_budget():
                self.is_used_up = True
                return
            claims.renew()
            if not claims.claim(self.action, task):
                others.append(task)
            elif self._is_done(ledger, task):
                ledger.release(claims.holder, task)
                self._count(task)
            else:
                yield task

    def _conclude(self, ledger: Ledger, others: Sequence[str]) -> None:
        """Count tasks that others have done meanwhile, and end the run if none is left."""
        for task in others:
            if self._is_done(ledger, task):
                self._count(task)
        run = self._run or ledger.unfinished_run(self.action, self.scope)
        if not self.left and run is not None and self._ends_run:
            ledger.end_run(run)

    def _count(self, task: str) -> None:
        with self._lock:
            is_new = task not in self._done
            self._done.add(task)
        if is_new:
            self._progress.advance_versions(1)

    _ends_run = True

    def _begin(self, ledger: Ledger) -> None:
        self._run = ledger.begin_run(self.action, self.scope, restart=self._restart)

    def _is_over_budget(self) -> bool:
        return False

    def _should_retry(self, result: R) -> bool:
        """Whether to try a failed task again, after others on which it may depend."""
        del result
        return False

    @abstractmethod
    def _is_done(self, ledger: Ledger, task: str) -> bool:
        """Whether another process has done the task since this run was planned."""

    @abstractmethod
    def _carry_out(self, task: str, stop: Stop, claims: Claims) -> R | None:
        """Do the task; ``None`` if its target no longer exists."""

    @abstractmethod
    def _record(self, ledger: Ledger, task: str, result: R | None) -> None:
        """Record the result of the task."""
