"""Who works on something, and whether that process still lives.

A *presence* is a file that its holder keeps locked with ``flock`` and that tells who the
holder is. The lock vanishes with the process; where locks can't be trusted, other signs tell
that the holder is gone: see :mod:`gobbler.disk.liveness`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

from gobbler.disk.clock import FilesystemClock
from gobbler.disk.liveness import SILENCE, describe, is_gone, this_process
from gobbler.disk.locks import try_lock
from gobbler.disk.naming import at
from gobbler.disk.writing import PRIVATE_FILE_MODE, remove_quietly, write_all

SIGN_EVERY = 20.0
"""Seconds between two signs of life."""

logger = logging.getLogger(__name__)

_held: set[tuple[int, int]] = set()
"""What this process holds. One that could not be removed is no longer held for that."""


class Presence:
    """The presence at ``path``, held by us; made by :func:`appear` or :func:`inherit`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._next_sign = 0.0
        self._file: tuple[int, int] | None = None

    def sign_of_life(self) -> None:
        """Show processes on other hosts, now and then, that we are still there."""
        now = time.monotonic()
        if now >= self._next_sign:
            self.touch()
            self._next_sign = now + SIGN_EVERY

    def touch(self) -> float:
        """Show it at once. The filesystem's time at which that was, in seconds since the epoch."""
        with at(self.path):
            os.utime(self._descriptor)
            return os.fstat(self._descriptor).st_mtime

    def show_to(self, mode: int) -> None:
        """Let those look whom ``mode`` lets; when this returns, other hosts see it, too."""
        with at(self.path):
            os.fchmod(self._descriptor, mode)
            os.fsync(self._descriptor)

    def is_seen(self) -> bool:
        """Whether others can still see it; not if they took us for gone, and removed it."""
        try:
            return os.fstat(self._descriptor).st_nlink > 0
        except OSError:  # as a network filesystem says of a file that is no more
            return False

    def assume(self) -> None:
        """Put our own name into what was inherited."""
        with at(self.path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, describe(this_process()), 0)

    def resign(self) -> None:
        """From here on it is nobody's, though this process lives on."""
        with at(self.path):
            os.ftruncate(self._descriptor, 0)

    def hold(self) -> None:
        """Know in this process that it is held here."""
        self._file = _file(self._descriptor)
        _held.add(self._file)

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._file is not None:
            _held.discard(self._file)
        os.close(self._descriptor)

    def vanish(self) -> None:
        """Remove the file and let go of it.

        If it can't be removed it stays as nobody's, for whoever comes next.
        """
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return  # it was taken for given up
        except OSError as error:
            logger.warning("could not remove %s: %s", self.path, error)
            with suppress(OSError):
                self.resign()
        finally:
            self.close()


def appear(path: str) -> Presence | None:
    """Make the presence ``path``; ``None`` if somebody else took it at that moment.

    Raises ``FileExistsError`` if there is one already.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
    presence = Presence(path, descriptor)
    try:
        # Somebody may have found the file before it was locked: leave it to them. They may as
        # well have come and gone, and removed it as nobody's.
        with at(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX) and presence.is_seen()
            if ours:
                write_all(descriptor, describe(this_process()))
                presence.hold()
    except BaseException:
        remove_quietly(path)
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return presence


def inherit(
    path: str, now: Callable[[], float] | None = None, *, silence: float = SILENCE
) -> Presence | None:
    """Take the presence ``path`` of a holder that is gone.

    ``None`` if its holder lives or has just ended. Raises ``OSError`` if it can't be
    looked at. Until :meth:`~Presence.assume` it tells of the former holder. ``now`` tells
    the filesystem's time; without it, that is found out by a file made beside ``path``.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    now = now or FilesystemClock(os.path.dirname(path)).now
    try:
        with at(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX) and (
                _was_dropped_here(descriptor) or is_gone(descriptor, now, silence=silence)
            )
            presence = Presence(path, descriptor)
            if ours:
                presence.hold()
    except BaseException:
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return presence


def _file(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _was_dropped_here(descriptor: int) -> bool:
    """Whether a presence is one that this process held, and could not remove."""
    ours = describe(this_process())
    return (
        os.pread(descriptor, len(ours) + 1, 0) == ours
        and _file(descriptor) not in _held
        and os.fstat(descriptor).st_nlink > 0
    )
