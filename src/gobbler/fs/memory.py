"""Memory that a process keeps though it does not use it any more."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from contextlib import suppress

M_ARENA_MAX = -8
"""Option of ``mallopt(3)``."""

ARENAS = 2
"""Threads of Python take turns, so they rarely allocate at the same moment."""

RELEASE_AFTER = 1.0
"""Seconds for which more may end that leaves memory unused."""

_lock = threading.Lock()
_is_due = False


def limit_arenas() -> None:
    """Let the threads of this process, and of those that it forks, share few heaps.

    By default, the GNU C library makes eight for each processor, and keeps in each what was in use
    there once. Other C libraries have no such option.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def release_soon() -> None:
    """Give what is unused back to the system, in a moment, and without keeping the caller.

    Calls within that moment count as one.
    """
    global _is_due  # noqa: PLW0603 - the memory of the process
    with _lock:
        if _is_due:
            return
        _is_due = True
    try:
        threading.Thread(target=_release, name="memory", daemon=True).start()
    except RuntimeError:  # there are too many threads
        with _lock:
            _is_due = False


def _release() -> None:
    global _is_due  # noqa: PLW0603 - see above
    time.sleep(RELEASE_AFTER)
    with _lock:
        _is_due = False
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
