"""Shown digests: what the command line has shown of a version on probation, for its approval.

::

    {state directory}/shown/{hash of registry and version}    the digest

Commands are processes of their own: between ``gobbler probation list`` and ``gobbler probation
approve``, an uploader may reject a version and upload another one. So the first writes down the
digest that it shows, and the second approves only that. This is optional: without a directory for
state, an approval is for what is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time

from gobbler.client.user_directories import state_directory
from gobbler.errors import GobblerError
from gobbler.fs.atomic_write import replace
from gobbler.fs.open import READ, closing

KEEP_SECONDS = 90 * 86_400.0
"""Seconds for which a digest is kept."""

_DIGITS = 64


def remember(registry: str, version: str, digest: str) -> None:
    """Write down that ``digest`` was shown of the ``version`` (an address) in a ``registry``."""
    path = _path(registry, version)
    if path is None:
        return
    with contextlib.suppress(OSError, GobblerError):
        directory = os.path.dirname(path)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _remove_old(directory)
        replace(path, digest.encode(), flush=False)


def last(registry: str, version: str) -> str | None:
    """The digest that was shown last of a ``version``, if any is known."""
    path = _path(registry, version)
    if path is None:
        return None
    try:
        with closing(os.open(path, READ)) as opened:
            found = os.read(opened, _DIGITS + 1).decode("ascii", "replace")
    except OSError:
        return None
    return found if len(found) == _DIGITS and set(found) <= set("0123456789abcdef") else None


def forget(registry: str, version: str) -> None:
    """Forget what was shown of a ``version``."""
    path = _path(registry, version)
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _path(registry: str, version: str) -> str | None:
    directory = state_directory()
    if directory is None:
        return None
    name = hashlib.sha256(f"{registry}\n{version}".encode(errors="surrogateescape")).hexdigest()
    return f"{directory}/shown/{name}"


def _remove_old(directory: str) -> None:
    limit = time.time() - KEEP_SECONDS
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < limit:
                os.unlink(entry.path)
