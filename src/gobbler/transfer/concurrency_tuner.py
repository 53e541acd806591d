"""Tuning the number of batches that run at a time in this process.

How many should run depends on the work and on the filesystem. Hashing large files occupies as many
processors as there are. Many small files are bound by the interpreter's lock, so several threads
get less done than one. Where each call takes a millisecond (NFS, Lustre), more threads are faster.
So :class:`ConcurrencyTuner` starts with one batch, tries twice as many for a moment, and keeps them
if they get more done.
"""

from __future__ import annotations

TRIAL_SECONDS = 0.1
"""Seconds for which a number of batches is tried."""

HOLD_SECONDS = 3.0
"""Seconds after a trial that failed until the next one: other requests may have ended."""

KEEP_FACTOR = 1.2
"""Factor by which a doubled number of batches must be faster to be kept."""

BYTES_PER_FILE = 64 * 1024
"""Bytes that cost as much work as one file."""


def amount(files: int, size: int) -> float:
    """The work of ``files`` of ``size`` bytes together, in files."""
    return files + size / BYTES_PER_FILE


class ConcurrencyTuner:
    """Tunes the number of batches to run ``at_a_time``, up to ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = self.at_a_time = 1
        self._rate: float | None = None
        self._began: tuple[float, float] | None = None
        self._until: float | None = None

    def measure(self, now: float, done: float) -> None:
        """Note that at the time ``now`` (seconds), ``done`` of the work is done."""
        if self._most == 1 or (self._until is not None and now < self._until):
            return
        if self._began is None or self._until is not None:
            self._until, self._began = None, (now, done)
            return
        seconds, more = now - self._began[0], done - self._began[1]
        if seconds < TRIAL_SECONDS or more <= 0:
            return
        self._judge(more / seconds)
        if self.at_a_time == self._kept:
            self._until, self._rate = now + HOLD_SECONDS, None
        self._began = now, done

    def _judge(self, rate: float) -> None:
        if self._rate is None or rate > KEEP_FACTOR * self._rate:
            self._kept, self._rate = self.at_a_time, rate
            self.at_a_time = min(self._most, 2 * self._kept)
        else:
            self.at_a_time = self._kept
