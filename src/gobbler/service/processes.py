"""What the processes of a service have in common.

Files that a forked process got from its parent without wanting them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Collection
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process as soon as its ``parent`` is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before that was asked for


def allow_many_files() -> None:
    """Let this process open as many files as it may ask for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def close_inherited(directories: Collection[str]) -> None:
    """Close all descriptors of files in ``directories`` (absolute paths).

    To be called first thing in a process that was forked while other threads of its parent
    were at work. ``flock`` belongs to the open file, not to the process: as long as the
    child keeps its descriptor of a lock file, the lock that the parent held at that moment
    is never free again.
    """
    # The kernel tells paths without links, whatever links the given ones lead through.
    tops = tuple(f"{os.path.realpath(directory)}/" for directory in directories)
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except FileNotFoundError:
        return
    for number in numbers:
        with suppress(OSError):
            if f"{os.readlink(f'/proc/self/fd/{number}')}/".startswith(tops):
                os.close(number)
