"""Set aside what no process can take: links, FIFOs, directories, files that can't be read.

Where others may publish, they may put anything into ``new``. A worker must neither end at it nor
find it again and again, so it goes to the directory ``aside`` of the store, with a warning in the
log. Whatever can't be moved (another account's directory) stays where it is, and is skipped.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from contextlib import suppress

from gobbler.filestore import names as naming
from gobbler.fs.open import READ, kind_of

ASIDE = "aside"

_UNREADABLE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP)
"""Errors of opening one file that last, and say nothing about the store."""

logger = logging.getLogger(__name__)


def problem_of(path: str) -> str:
    """Why the file ``path`` in ``cur`` can't be handled; empty if it can.

    Raises ``OSError`` if the file is gone, or the store does not work.
    """
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        return f"it is {kind_of(mode)}, not a regular file"
    try:
        os.close(os.open(path, READ))
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        return f"it can't be read: {error.strerror}"
    return ""


class Aside:
    """The directory ``aside`` beside the space ``new``, made when something is first set aside.

    If others have put a link, a file or a closed directory there, it is ``aside-`` and a random
    number.
    """

    def __init__(self, new: str) -> None:
        self._new = new
        self._store = os.path.dirname(new)
        self.path = os.path.join(self._store, ASIDE)
        self._stuck: set[tuple[int, int, int]] = set()

    def put(self, path: str, why: str) -> bool:
        """Move the file ``path`` here; whether it is not in the way any more.

        If it can't be moved, it is reported once, and :meth:`is_stuck` from now on.
        """
        name = naming.aside_name(os.path.basename(path))
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return True  # others were faster
        try:
            self._make()
            target = os.path.join(self.path, name)
            os.rename(path, target)  # nothing else has that name
        except FileNotFoundError:
            return True
        except OSError as error:
            self._stuck.add(_state(status))
            logger.warning("skipping %r: %s, and it can't be set aside: %s", path, why, error)
            return False
        logger.warning("set aside %r as %r: %s", path, target, why)
        return True

    def _make(self) -> None:
        with suppress(FileExistsError):
            os.mkdir(self.path)
        if _is_usable(self.path):
            return
        others = (name for name in os.listdir(self._store) if name.startswith(f"{ASIDE}-"))
        paths = (os.path.join(self._store, name) for name in others)
        found = next(filter(_is_usable, paths), None)
        self.path = found or os.path.join(self._store, f"{ASIDE}-{secrets.token_hex(6)}")
        if found is None:
            os.mkdir(self.path)

    def is_stuck(self, path: str) -> bool:
        """Whether ``path`` is a file that could not be set aside."""
        if not self._stuck:
            return False
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return _state(status) in self._stuck


def _is_usable(path: str) -> bool:
    """Whether ``path`` is a directory, no link, into which this process can move files."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and os.access(path, os.W_OK | os.X_OK)


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """What stays the same when a file is renamed, and differs for another file."""
    return status.st_dev, status.st_ino, status.st_mtime_ns
