"""How many batches to run at a time, found out by trying.

What pays depends on the work and on the filesystem. Hashing large files occupies as many
processors as there are; so many small files are bound by the interpreter, of which several
threads only take turns, and get less done than one; and where each call takes a millisecond
(NFS, Lustre), the more the better. So one begins; twice as many are tried for a moment, and
kept if more gets done.
"""

from __future__ import annotations

MOMENT = 0.1
"""Seconds of a trial."""

HOLD = 3.0
"""Seconds after which what did not pay is tried again: others may be done by then."""

WORTH = 1.2
"""By which factor twice as many must get more done to be kept."""

BYTES_PER_FILE = 64 * 1024
"""Bytes that count as much as a file."""


def amount(files: int, size: int) -> float:
    """How much work so many files, of so many bytes together, are."""
    return files + size / BYTES_PER_FILE


class Pace:
    """How many to run ``at_a_time``, which is ``most`` at most. Times are in seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = self.at_a_time = 1
        self._rate: float | None = None
        self._began: tuple[float, float] | None = None
        self._until: float | None = None

    def look(self, now: float, done: float) -> None:
        """Know that it is ``now``, and that so much is ``done`` in all."""
        if self._most == 1 or (self._until is not None and now < self._until):
            return
        if self._began is None or self._until is not None:
            self._until, self._began = None, (now, done)
            return
        seconds, more = now - self._began[0], done - self._began[1]
        if seconds < MOMENT or more <= 0:
            return
        self._judge(more / seconds)
        if self.at_a_time == self._kept:
            self._until, self._rate = now + HOLD, None
        self._began = now, done

    def _judge(self, rate: float) -> None:
        if self._rate is None or rate > WORTH * self._rate:
            self._kept, self._rate = self.at_a_time, rate
            self.at_a_time = min(self._most, 2 * self._kept)
        else:
            self.at_a_time = self._kept
