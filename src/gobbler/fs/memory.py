"""Memory that the C library keeps for a process."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_ARENA_MAX = -8
"""Option of ``mallopt(3)``."""

ARENAS = 2
"""Threads of Python take turns, so they rarely allocate at the same moment."""


def limit_arenas() -> None:
    """Let the threads of this process, and of those that it forks, share few heaps.

    By default, the GNU C library makes eight for each processor, and keeps in each what was in use
    there once. Other C libraries have no such option.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
