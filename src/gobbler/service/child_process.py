"""A process below the supervisor, which is started again when it dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from gobbler.errors import Fault

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds before a process that died is started again: at first, and if it dies again and again."""

SOUND_AFTER = 5.0
"""Seconds after which a process counts as started."""

COMM = "/proc/self/comm"
"""The name of a process, which ``ps`` and ``top`` show; at most 15 bytes."""

logger = logging.getLogger(__name__)


def name_this_process(name: str) -> None:
    """Let tools show what this process is for; those that it forks keep the name."""
    with suppress(OSError), open(COMM, "w", encoding="ascii") as file:
        file.write(name)


class ChildProcess:
    """The process ``name``, which ``new()`` makes.

    If it dies soon after its start ``replaced_for`` times in a row, it is not started again.
    """

    def __init__(
        self, name: str, new: Callable[[], BaseProcess], *, replaced_for: int | None = None
    ) -> None:
        self.name = name
        self.due = float("inf")
        self._new = new
        self._replaced_for = replaced_for
        self._process: BaseProcess | None = None
        self._started = 0.0
        self._failures = 0

    def start(self) -> None:
        """Start it. Raises ``OSError`` if the system has no room for it."""
        self.due = float("inf")
        self._started = time.monotonic()
        process = self._new()
        process.start()
        self._process = process

    @property
    def sentinel(self) -> int | None:
        """A descriptor that can be read once the process has ended; ``None`` if there is none."""
        return None if self._process is None else self._process.sentinel

    def keep(self, now: float) -> None:
        """Note if the process has ended, and start it again when that is ``due``.

        Raises :class:`~gobbler.errors.Fault` if it has died too often.
        """
        if self._process is not None and self._process.exitcode is not None:
            self._note_end(now, self._process.exitcode)
        if self._process is None and self.due <= now:
            try:
                self.start()
            except OSError as error:
                logger.error("could not start %s: %s", self.name, error)
                self.due = now + LONGEST_PAUSE

    def _note_end(self, now: float, code: int) -> None:
        assert self._process is not None
        self._process.close()
        self._process = None
        self._failures = self._failures + 1 if now - self._started < SOUND_AFTER else 1
        if self._replaced_for is not None and self._failures > self._replaced_for:
            raise Fault(
                f"{self.name} has died {self._failures} times, each time soon after its start",
                hint="The lines of the log before this one say why.",
            )
        pause = min(FIRST_PAUSE * 2.0 ** (self._failures - 1), LONGEST_PAUSE)
        logger.error("%s died (exit code %s); starting another one in %g s", self.name, code, pause)
        self.due = now + pause

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()

    def has_ended(self) -> bool:
        """Whether there is no process any more."""
        return self._process is None or self._process.exitcode is not None


def wait_for(children: Sequence[ChildProcess], deadline: float) -> list[ChildProcess]:
    """Wait until these processes have ended; those that have not at ``deadline``."""
    while True:
        living = [child for child in children if not child.has_ended()]
        left = deadline - time.monotonic()
        if not living or left <= 0:
            return living
        wait([child.sentinel for child in living if child.sentinel is not None], left)
