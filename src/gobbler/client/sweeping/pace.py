"""How far a sweep is, how fast it goes, and how long the rest will take."""

from __future__ import annotations

import time

from gobbler.rules.sweeping import Work, seconds_left


class Pace:
    """Counts what a :class:`~gobbler.client.sweeping.sweep.SweepProgress` is told.

    ``tasks``, ``files`` and ``bytes`` are done; ``expected`` tasks and ``size`` bytes there are
    in all, ``None`` as long as that is not known.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.tasks = self.files = self.bytes = 0
        self.expected = 0
        self.size: int | None = None

    def expect(self, tasks: int, size: int | None) -> None:
        """Know what there is to do."""
        self.expected, self.size = tasks, size

    def advance(self, tasks: int, files: int, size: int) -> None:
        """Know what is done."""
        self.tasks += tasks
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
