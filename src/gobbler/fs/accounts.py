"""Accounts: which names are accounts of this host. To ask a directory server may take long."""

from __future__ import annotations

import functools
import os
import pwd
import threading
import time
from collections.abc import Iterable

from gobbler.fs.fingerprint import Fingerprint

MAX_NAMES = 50
"""Largest number of names that are looked up at a time."""

MAX_LOOKUPS = 4
"""Largest number of lookups at a time; one that hangs keeps its place."""

REMEMBERED_SECONDS = 60.0
"""Seconds for which accounts and groups are remembered: a lookup may ask a server."""

ACCOUNT_FILES = ("/etc/passwd", "/etc/group")
"""What is remembered ends at once when one of them changes."""

MAX_REMEMBERED = 4096
"""Largest number of accounts that are remembered."""

_existing: dict[str, object] = {}
"""The names that were looked up and found, with the state of the accounts then."""

_places = threading.BoundedSemaphore(MAX_LOOKUPS)


def state_of_accounts() -> tuple[object, ...]:
    """A value that is another once what is remembered of accounts and groups does not count."""
    return int(time.monotonic() / REMEMBERED_SECONDS), *map(_state, ACCOUNT_FILES)


def _state(path: str) -> object:
    try:
        return Fingerprint.of(os.stat(path))
    except OSError:
        return None


def known_name(uid: int) -> str | None:
    """The login of the account ``uid``; ``None`` if there is no such account."""
    return _name_of(uid, state_of_accounts()) or _looked_up(uid)


@functools.lru_cache(maxsize=MAX_REMEMBERED)
def _name_of(uid: int, state: tuple[object, ...]) -> str | None:
    del state
    return _looked_up(uid)


def _looked_up(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def without_account(names: Iterable[str], seconds: float) -> list[str]:
    """The ``names`` that are known to be no accounts, in order.

    Takes at most ``seconds``. A name that could not be looked up in time counts as an account.
    """
    state = state_of_accounts()
    asked = [name for name in dict.fromkeys(names) if _existing.get(name) != state][:MAX_NAMES]
    if not asked or not _places.acquire(blocking=False):
        return []
    missing: list[str] = []

    def look_up() -> None:
        try:
            for name in asked:
                if not _exists(name):
                    missing.append(name)
                elif name in _existing or len(_existing) < MAX_REMEMBERED:
                    _existing[name] = state
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
