"""Whether a filesystem answers at once, or over a network."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from contextlib import suppress

SLOW_SECONDS = 0.0003
"""What a look at one file takes where it is better to have several threads look."""

LOOKS = 9
"""Looks of which the median counts, for others may keep a host busy at any moment."""


def is_slow(directory: str) -> bool:
    """Whether a look at a file in ``directory`` takes long. Leaves no trace there."""
    return statistics.median(_look(directory) for _ in range(LOOKS)) > SLOW_SECONDS


def _look(directory: str) -> float:
    # Of a name that nobody has asked for yet, no cache knows that it is not there.
    path = f"{directory}/{secrets.token_hex(8)}"
    begun = time.monotonic()
    with suppress(OSError):
        os.lstat(path)
    return time.monotonic() - begun
