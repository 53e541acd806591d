"""How far a sweep is, how fast it goes, and how long the rest will take.

Going over many versions, one after the other or a few at a time, to be gone on with later.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from gobbler.client.bulk.ledger import Attendance, Ledger, Run, attending
from gobbler.client.parallel import Stop, in_turn
from gobbler.fs.clock import moment
from gobbler.model.progress import NoProgress, Progress
from gobbler.rules.bulk import Work, seconds_left


class Pace:
    """Counts what a :class:`~gobbler.client.bulk.run.BulkProgress` is told.

    ``tasks``, ``files`` and ``bytes`` are done; ``expected`` tasks and ``size`` bytes there are
    in all, ``None`` as long as that is not known.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.tasks = self.files = self.bytes = 0
        self.expected = 0
        self.size: int | None = None

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Know what there is to do."""
        self.expected, self.size = versions, size

    def advance_versions(self, versions: int) -> None:
        """Know what is done."""
        self.tasks += versions

    def advance(self, files: int, size: int) -> None:
        """Know what is done."""
        self.files += files
        self.bytes += size

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / max(time.monotonic() - self._started, 1e-3)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take, if anything is known about that."""
        done, left = Work(self.tasks, 0), Work(self.expected - self.tasks, 0)
        if self.size is not None:
            done = Work(self.tasks, max(0, self.bytes))
            left = Work(left.versions, max(0, self.size - self.bytes))
        return seconds_left(time.monotonic() - self._started, done, left)


R = TypeVar("R")

logger = logging.getLogger(__name__)


class BulkProgress(Progress, Protocol):
    """Receives the progress of a bulk run; called from several threads at once.

    The run announces its total in versions, and advances by versions, files and bytes.
    """

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Announce the total; ``size`` in bytes becomes known as the run goes on."""

    def advance_versions(self, versions: int) -> None:
        """Add ``versions`` to what is done."""

    def note(self, text: str) -> None:
        """Show a message to the user."""


class NoBulkProgress(NoProgress):
    """A bulk run that nobody follows; notes go to the log."""

    def expect_versions(self, versions: int, size: int | None) -> None:
        """Do nothing."""

    def advance_versions(self, versions: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Log it."""
        logger.warning("%s", text)


class Sweep(ABC, Generic[R]):
    """Tasks to be carried out by whoever iterates, which yields what came of each.

    ``tasks`` are their names, in order. What is done is kept at once, so that after
    the end of the iteration, or of the process, another sweep goes on with the rest. Several
    may be at it at a time, and share the tasks.

    ``resumed`` is when the sweep was begun that this one goes on with, ``done_before`` how
    many tasks were done then. ``left`` is how many are not done yet.
    """

    action: str

    def __init__(
        self,
        ledger: tuple[str | None, str],
        tasks: Sequence[str],
        *,
        scope: str,
        run: Run | None,
        done_before: int,
        odd: Sequence[R],
        parallel: int,
        restart: bool,
        progress: BulkProgress | None,
    ) -> None:
        self._of = ledger
        self.tasks = tuple(tasks)
        self.scope = scope
        self.resumed: dt.datetime | None = None if run is None else moment(run.begun)
        self.done_before = done_before
        self.is_used_up = False
        self._odd = tuple(odd)
        self._parallel = parallel
        self._restart = restart
        self._progress = progress or NoBulkProgress()
        self._run: Run | None = None
        self._done: set[str] = set()
        self._turn = threading.Lock()

    @property
    def left(self) -> int:
        """How many of the ``tasks`` are not done yet."""
        return len(self.tasks) - len(self._done)

    def __iter__(self) -> Iterator[R]:
        yield from self._odd
        if not self.tasks:
            # Nothing was left but to say so.
            with Ledger(*self._of) as ledger:
                self._conclude(ledger, [])
            return
        with Ledger(*self._of) as ledger, attending(ledger) as attendance:
            self._begin(ledger)
            elsewhere: list[str] = []

            def carry_out(task: str, stop: Stop) -> tuple[str, R | None]:
                try:
                    result = self._carry_out(task, stop, attendance)
                    with ledger.together():
                        self._keep(ledger, task, result)
                        ledger.release(attendance.name, task)
                except BaseException:
                    ledger.release(attendance.name, task)
                    raise
                self._count(task)
                return task, result

            tasks: Sequence[str] = self.tasks
            while tasks:
                pending = self._pending(tasks, ledger, attendance, elsewhere)
                held: dict[str, R] = {}
                has_changed = False
                # Closed at once, so that nobody writes into a ledger that is closed.
                with contextlib.closing(in_turn(carry_out, pending, self._parallel)) as ended:
                    for task, result in ended:
                        if result is not None and self._may_mend(result):
                            held[task] = result
                            continue
                        has_changed = True
                        if result is not None:
                            yield result
                tasks = list(held) if has_changed else ()
                if not tasks:
                    yield from held.values()
            self._conclude(ledger, elsewhere)

    def _pending(
        self, tasks: Sequence[str], ledger: Ledger, attendance: Attendance, elsewhere: list[str]
    ) -> Iterator[str]:
        """Those of ``tasks`` that nobody else is at or has done, claimed one by one."""
        for task in tasks:
            if self._may_not_begin():
                self.is_used_up = True
                return
            attendance.renew()
            if not attendance.claim(self.action, task):
                elsewhere.append(task)
            elif self._is_done(ledger, task):
                ledger.release(attendance.name, task)
                self._count(task)
            else:
                yield task

    def _conclude(self, ledger: Ledger, elsewhere: Sequence[str]) -> None:
        """Note what others have done meanwhile, and that it is the end if nothing is left."""
        for task in elsewhere:
            if self._is_done(ledger, task):
                self._count(task)
        run = self._run or ledger.unfinished(self.action, self.scope)
        if not self.left and run is not None and self._ends_run:
            ledger.end(run)

    def _count(self, task: str) -> None:
        with self._turn:
            is_new = task not in self._done
            self._done.add(task)
        if is_new:
            self._progress.advance_versions(1)

    _ends_run = True

    def _begin(self, ledger: Ledger) -> None:
        self._run = ledger.begin(self.action, self.scope, restart=self._restart)

    def _may_not_begin(self) -> bool:
        return False

    def _may_mend(self, result: R) -> bool:
        """Whether it should be tried again once others are done, on which it may depend."""
        del result
        return False

    @abstractmethod
    def _is_done(self, ledger: Ledger, task: str) -> bool:
        """Whether another process has done it since this sweep was planned."""

    @abstractmethod
    def _carry_out(self, task: str, stop: Stop, attendance: Attendance) -> R | None:
        """Do it; ``None`` if there is nothing to be done it with any more."""

    @abstractmethod
    def _keep(self, ledger: Ledger, task: str, result: R | None) -> None:
        """Keep what came of it."""
