"""Accounts: which names are accounts of this host. To ask a directory server may take long."""

from __future__ import annotations

import pwd
import threading
from collections.abc import Iterable

MAX_NAMES = 50
"""Largest number of names that are looked up at a time."""

MAX_LOOKUPS = 4
"""Largest number of lookups at a time; one that hangs keeps its place."""

_places = threading.BoundedSemaphore(MAX_LOOKUPS)


def without_account(names: Iterable[str], seconds: float) -> list[str]:
    """The ``names`` that are known to be no accounts, in order.

    Takes at most ``seconds``. A name that could not be looked up in time counts as an account.
    """
    asked = list(dict.fromkeys(names))[:MAX_NAMES]
    if not asked or not _places.acquire(blocking=False):
        return []
    missing: list[str] = []

    def look_up() -> None:
        try:
            missing.extend(name for name in asked if not _exists(name))
        finally:
            _places.release()

    # The interpreter does not wait for a daemon at its end.
    thread = threading.Thread(target=look_up, name="accounts", daemon=True)
    thread.start()
    thread.join(seconds)
    return list(missing)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError, UnicodeError):  # no such account, or no name of any
        return False
    except OSError:
        return True  # unknown
    return True
