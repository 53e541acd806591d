"""The umask: which rights what this process creates does not get.

A umask that takes rights from the *owner* (such as 0777 or 0377) makes each new directory one that
its own maker can't use. Nobody means that.
"""

from __future__ import annotations

import os
from contextlib import suppress

OWNERS = 0o700

ADVICE = "Set another one first: `umask 022` in the shell, os.umask(0o022) in Python."


def umask() -> int | None:
    """The umask of this process; ``None`` if unknown."""
    # Setting the umask, the other way to read it, would disturb other threads.
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def umask_leaves(mode: int) -> bool:
    """Whether the umask of this process takes nothing away from ``mode``.

    ``False`` also where that is unknown.
    """
    found = umask()
    return found is not None and not mode & found


def umask_problem() -> str | None:
    """What is wrong with the umask of this process, if it takes rights from the owner."""
    if os.geteuid() == 0:  # root needs none
        return None
    found = umask()
    if found is None or not found & OWNERS:
        return None
    return f"the umask {found:04o} of this process takes from you the rights to what you create"


def keep_owners_rights() -> None:
    """Take the bits of the owner out of the umask of this process, which has one thread."""
    found = os.umask(0o077)
    os.umask(found & ~OWNERS)
