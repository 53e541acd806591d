"""Set aside what no process can take: links, FIFOs, directories, files that can't be read.

Where others may publish, they may put anything into ``new``. A worker must neither end at it nor
find it again and again, so it goes to the directory ``aside`` of the store, with a warning in the
log. Whatever can't be moved (another account's directory) stays where it is, and is skipped.
"""

from __future__ import annotations

import errno
import logging
import os
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
    """The directory ``aside`` beside the space ``new``, made when something is first set aside."""

    def __init__(self, new: str) -> None:
        self._new = new
        self.path = os.path.join(os.path.dirname(new), ASIDE)
        self._stuck: set[tuple[int, int, int]] = set()

    def put(self, path: str, why: str) -> bool:
        """Move the file ``path`` here; whether it is not in the way any more.

        If it can't be moved, it is reported once, and :meth:`is_stuck` from now on.
        """
        name = naming.aside_name(os.path.basename(path))
        target = os.path.join(self.path, name)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return True  # others were faster
        try:
            with suppress(FileExistsError):
                os.mkdir(self.path)
            os.rename(path, target)  # nothing else has that name
        except FileNotFoundError:
            return True
        except OSError as error:
            self._stuck.add(_state(status))
            logger.warning("skipping %r: %s, and it can't be set aside: %s", path, why, error)
            return False
        logger.warning("set aside %r as %r: %s", path, target, why)
        return True

    def is_stuck(self, path: str) -> bool:
        """Whether ``path`` is a file that could not be set aside."""
        if not self._stuck:
            return False
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return _state(status) in self._stuck


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """What stays the same when a file is renamed, and differs for another file."""
    return status.st_dev, status.st_ino, status.st_mtime_ns
