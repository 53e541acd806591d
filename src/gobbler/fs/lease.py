"""Does the holder of a presence still live, on this host or on another?

A lock that is held proves that its holder lives. A lock that is free proves that it is dead
only where locks reach it, so the rest is asked for as well:

=====================================  =============================================
the holder wrote that it is            it is gone if its lock is free, and
=====================================  =============================================
in this PID namespace                  that process is not there
in another one of this kernel          locks exclude here, or it has long been silent
on this host, before it was booted     (nothing more)
on another host                        it has long been silent
=====================================  =============================================

Silence is measured by the filesystem's clock, against which the signs are stamped: the
hosts' own clocks may differ.


Who works on something, and whether that process still lives.

A *presence* is a file that its holder keeps locked with ``flock`` and that tells who the
holder is. The lock vanishes with the process; where locks can't be trusted, other signs tell
that the holder is gone: see :mod:`gobbler.fs.lease`.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import msgspec
from msgspec import Struct

from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, remove_quietly, write_all
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.lock import try_lock
from gobbler.fs.os_errors import with_path

SILENCE = 600.0
"""Seconds without a sign of life after which a process that no lock tells of is given up."""

_LIMIT = 4096


class Holder(Struct, frozen=True):
    """A process: enough to find out whether it still lives."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str


def process_start(pid: int | str) -> str:
    """When the process ``pid`` was started; empty if it is not there."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            fields = handle.read().rpartition(")")[2].split()
            # A zombie is only a name that nobody has asked about yet.
            return "" if fields[0] in ("Z", "X") else fields[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""  # any other error does not tell that it is gone


@cache
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip()
    except FileNotFoundError:  # any other error may pass, and what is returned is kept
        return ""


@cache
def this_kernel() -> str:
    """A short name of the kernel that runs here, since it was booted; of the host without one."""
    name = _boot() or socket.gethostname()
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def _namespace() -> str:
    """The PID namespace, if ``/proc`` tells about it; else empty: processes can't be looked up."""
    try:
        ours = os.readlink("/proc/self") == str(os.getpid())
        return os.readlink("/proc/self/ns/pid") if ours else ""
    except FileNotFoundError:
        return ""


@cache
def this_process() -> Holder:
    """The process that is us; found out once, for every job tells it."""
    return Holder(socket.gethostname(), _boot(), _namespace(), os.getpid(), process_start("self"))


os.register_at_fork(after_in_child=this_process.cache_clear)


def describe(holder: Holder) -> bytes:
    """What a process writes into its presence."""
    return msgspec.json.encode(holder)


def is_gone(descriptor: int, now: Callable[[], float], *, silence: float = SILENCE) -> bool:
    """Whether nobody holds the presence any more that is open, and locked by us.

    ``now`` tells the filesystem's time, in seconds since the epoch. A file that does not
    tell whose it is, is nobody's.
    """
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return False  # given up while we were opening it
    try:
        holder = msgspec.json.decode(os.pread(descriptor, _LIMIT, 0), type=Holder)
    except msgspec.DecodeError:
        return True
    us = this_process()
    if (holder.boot or holder.host) == (us.boot or us.host):
        if us.namespace and holder.namespace == us.namespace:
            with suppress(OSError):  # /proc may be closed to us
                return process_start(holder.pid) != holder.started
        if locks_exclude(descriptor):
            return True
    elif holder.host == us.host:
        return True
    return now() - status.st_mtime > silence


def locks_exclude(descriptor: int) -> bool:
    """Whether the lock that we hold on an open file would keep somebody else out."""
    second = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        return not try_lock(second, fcntl.LOCK_EX)
    finally:
        os.close(second)


RENEW_SECONDS = 20.0
"""Seconds between two signs of life."""

logger = logging.getLogger(__name__)

_held: set[tuple[int, int]] = set()
"""What this process holds. One that could not be removed is no longer held for that."""


class Lease:
    """The presence at ``path``, held by us; made by :func:`acquire` or :func:`take_over`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._next_sign = 0.0
        self._file: tuple[int, int] | None = None

    def renew(self) -> None:
        """Show processes on other hosts, now and then, that we are still there."""
        now = time.monotonic()
        if now >= self._next_sign:
            self.touch()
            self._next_sign = now + RENEW_SECONDS

    def touch(self) -> float:
        """Show it at once. The filesystem's time at which that was, in seconds since the epoch."""
        with with_path(self.path):
            os.utime(self._descriptor)
            return os.fstat(self._descriptor).st_mtime

    def make_visible(self, mode: int) -> None:
        """Let those look whom ``mode`` lets; when this returns, other hosts see it, too."""
        with with_path(self.path):
            os.fchmod(self._descriptor, mode)
            os.fsync(self._descriptor)

    def is_visible(self) -> bool:
        """Whether others can still see it; not if they took us for gone, and removed it."""
        try:
            return os.fstat(self._descriptor).st_nlink > 0
        except OSError:  # as a network filesystem says of a file that is no more
            return False

    def sign(self) -> None:
        """Put our own name into what was inherited."""
        with with_path(self.path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, describe(this_process()), 0)

    def disown(self) -> None:
        """From here on it is nobody's, though this process lives on."""
        with with_path(self.path):
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

    def release(self) -> None:
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
                self.disown()
        finally:
            self.close()


def acquire(path: str) -> Lease | None:
    """Make the presence ``path``; ``None`` if somebody else took it at that moment.

    Raises ``FileExistsError`` if there is one already.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
    lease = Lease(path, descriptor)
    try:
        # Somebody may have found the file before it was locked: leave it to them. They may as
        # well have come and gone, and removed it as nobody's.
        with with_path(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX) and lease.is_visible()
            if ours:
                write_all(descriptor, describe(this_process()))
                lease.hold()
    except BaseException:
        remove_quietly(path)
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return lease


def take_over(
    path: str, now: Callable[[], float] | None = None, *, silence: float = SILENCE
) -> Lease | None:
    """Take the presence ``path`` of a holder that is gone.

    ``None`` if its holder lives or has just ended. Raises ``OSError`` if it can't be
    looked at. Until :meth:`~Lease.assume` it tells of the former holder. ``now`` tells
    the filesystem's time; without it, that is found out by a file made beside ``path``.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    now = now or FilesystemClock(os.path.dirname(path)).now
    try:
        with with_path(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX) and (
                _was_dropped_here(descriptor) or is_gone(descriptor, now, silence=silence)
            )
            lease = Lease(path, descriptor)
            if ours:
                lease.hold()
    except BaseException:
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return lease


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
