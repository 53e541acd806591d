"""The latency of a filesystem: whether it answers at once, or a server does over a network."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from contextlib import suppress

HIGH_LATENCY_SECONDS = 0.0003
"""Seconds for one ``stat`` from which several threads that make such calls get more done."""

SAMPLES = 9
"""Calls of which the median counts: other processes may keep a host busy at any moment."""


def has_high_latency(directory: str) -> bool:
    """Whether the filesystem of ``directory`` has a high latency. Changes nothing there."""
    return statistics.median(_sample(directory) for _ in range(SAMPLES)) > HIGH_LATENCY_SECONDS


def _sample(directory: str) -> float:
    # No cache knows that a random name does not exist, so the server must answer.
    path = f"{directory}/{secrets.token_hex(8)}"
    begun = time.monotonic()
    with suppress(OSError):
        os.lstat(path)
    return time.monotonic() - begun
