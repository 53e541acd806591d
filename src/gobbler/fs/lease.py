"""Leases: a file that shows who works on something, and whether that process still lives.

The holder of a lease keeps its file locked with ``flock`` and *renews* it, by touching the file,
every 20 seconds or so. The file says which process holds it. A process *acquires* a lease by
creating the file, and *releases* it by removing the file. If the holder dies, the lease *expires*,
and another process may *take it over*.

A held lock proves that its holder lives. A free lock proves that the holder is dead only where
locks reach that process, so a lease whose lock is free has expired in these cases:

=====================================  =============================================
the file names a process               the lease has expired if its lock is free, and
=====================================  =============================================
in this PID namespace                  that process does not exist
in another namespace of this kernel    locks exclude here, or the holder is silent
on this host, before the last boot     (nothing more)
on another host                        the holder is silent
nowhere: the file is empty or damaged  (nothing more)
=====================================  =============================================

A holder is *silent* if it has not renewed the lease for :data:`EXPIRY_SECONDS`. Both times are
taken from the clock of the filesystem, since the clocks of hosts may differ.
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

from gobbler.fs import mounts
from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, remove_quietly, write_all
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.lock import try_lock
from gobbler.fs.os_errors import with_path

RENEW_SECONDS = 20.0
"""Seconds between two renewals."""

EXPIRY_SECONDS = 600.0
"""Seconds without renewal after which a lease expires, if neither lock nor kernel decides."""

_HOLDER_LIMIT = 4096
"""Bytes that are read of a file that names a holder."""

logger = logging.getLogger(__name__)


class Holder(Struct, frozen=True):
    """A process, identified well enough to find out whether it still lives."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str


def process_start(pid: int | str) -> str:
    """The start time of the process ``pid``, as the kernel writes it; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            fields = handle.read().rpartition(")")[2].split()
            # A zombie has ended: only its entry is left, until its parent reads the status.
            return "" if fields[0] in ("Z", "X") else fields[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""  # any other error does not prove that the process has ended


@cache
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip()
    except FileNotFoundError:  # any other error may be temporary, and the result is cached
        return ""


@cache
def this_kernel() -> str:
    """A short name of the running kernel since its last boot; without one, of the host."""
    name = _boot() or socket.gethostname()
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def this_boot() -> str:
    """A short name of the running kernel since its last boot; empty if that is unknown."""
    return this_kernel() if _boot() else ""


def _namespace() -> str:
    """The PID namespace; empty if ``/proc`` is missing or belongs to another namespace."""
    try:
        ours = os.readlink("/proc/self") == str(os.getpid())
        return os.readlink("/proc/self/ns/pid") if ours else ""
    except FileNotFoundError:
        return ""


@cache
def this_process() -> Holder:
    """The calling process. Cached, as every workspace and job writes it."""
    return Holder(socket.gethostname(), _boot(), _namespace(), os.getpid(), process_start("self"))


os.register_at_fork(after_in_child=this_process.cache_clear)


def encode_holder(holder: Holder) -> bytes:
    """The content of a lease file."""
    return msgspec.json.encode(holder)


def is_expired(
    descriptor: int, now: Callable[[], float], *, silence: float = EXPIRY_SECONDS
) -> bool:
    """Whether the lease in an open file has expired. The caller holds its lock.

    ``now`` returns the time of the filesystem in seconds since the epoch.
    """
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return False  # released since it was opened
    try:
        holder = msgspec.json.decode(os.pread(descriptor, _HOLDER_LIMIT, 0), type=Holder)
    except msgspec.DecodeError:
        return True
    us = this_process()
    if (holder.boot or holder.host) == (us.boot or us.host):
        if us.namespace and holder.namespace == us.namespace:
            with suppress(OSError):  # /proc may be closed to this account
                return process_start(holder.pid) != holder.started
        if locks_exclude(descriptor):
            return True
    elif holder.host == us.host:
        return True
    return now() - status.st_mtime > silence


def has_ended(descriptor: int, holder: Holder) -> bool:
    """Whether ``holder``, which locked an open file while it lived, is known to have ended.

    Unlike :func:`is_expired`, silence shows nothing: its process may come back. ``False`` unless
    this is certain.
    """
    us = this_process()
    if holder.boot and holder.boot == us.boot:
        try:
            is_free = try_lock(descriptor, fcntl.LOCK_EX)  # of its last thread, too
            excludes = is_free and locks_exclude(descriptor)
        except OSError:  # a filesystem without locks
            is_free, excludes = True, False
        if us.namespace and holder.namespace == us.namespace:
            with suppress(OSError):
                return is_free and process_start(holder.pid) != holder.started
        return excludes
    # Hosts of a cluster may have the same name, but then they share a network filesystem.
    return bool(
        holder.boot
        and us.boot
        and holder.host == us.host
        and mounts.reports_all_changes(f"/proc/self/fd/{descriptor}")
    )


def locks_exclude(descriptor: int) -> bool:
    """Whether the lock that the caller holds on an open file keeps a second party out."""
    second = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        return not try_lock(second, fcntl.LOCK_EX)
    finally:
        os.close(second)


_held: set[tuple[int, int]] = set()
"""Device and inode of the leases that this process holds.

A released lease whose file could not be removed is not among them, though it names this process.
"""


class Lease:
    """A lease that this process holds; made by :func:`acquire` and :func:`take_over`."""

    def __init__(self, path: str, descriptor: int, content: bytes) -> None:
        self.path = path
        self._descriptor = descriptor
        self._content = content
        self._next_renewal = 0.0
        self._file = _file(descriptor)
        _held.add(self._file)

    def renew(self) -> None:
        """Renew the lease if the last renewal is :data:`RENEW_SECONDS` ago. Call it often."""
        moment = time.monotonic()
        if moment >= self._next_renewal:
            self.renew_now()
            self._next_renewal = moment + RENEW_SECONDS

    def renew_now(self) -> float:
        """Renew the lease; the time of the filesystem then, in seconds since the epoch."""
        with with_path(self.path):
            os.utime(self._descriptor)
            return os.fstat(self._descriptor).st_mtime

    def make_visible(self, mode: int) -> None:
        """Set the file's mode, and flush it so that other hosts see it when this returns."""
        with with_path(self.path):
            os.fchmod(self._descriptor, mode)
            os.fsync(self._descriptor)

    def is_lost(self) -> bool:
        """Whether another process took the lease for expired, and removed its file."""
        return _is_removed(self._descriptor)

    def is_taken_over(self) -> bool:
        """Whether another process took the lease for expired, and named itself as the holder."""
        with with_path(self.path):
            return os.pread(self._descriptor, _HOLDER_LIMIT, 0) != self._content

    def write_holder(self) -> None:
        """Name this process as the holder, after :func:`take_over`."""
        self._content = encode_holder(this_process())
        with with_path(self.path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, self._content, 0)

    def expire(self) -> None:
        """Expire the lease at once, though this process lives on. Its lock stays held."""
        self._content = b""
        with with_path(self.path):
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Unlock the file, and leave it where it is."""
        _held.discard(self._file)
        os.close(self._descriptor)

    def release(self) -> None:
        """End the lease by removing its file, unless another process has taken it over.

        A file that can't be removed stays as an expired lease, for the next process to take over.
        """
        try:
            if not self.is_taken_over():
                os.unlink(self.path)
        except FileNotFoundError:
            return  # another process took the lease for expired
        except OSError as error:
            logger.warning("could not remove the lease %s: %s", self.path, error)
            with suppress(OSError):
                self.expire()
        finally:
            self.close()


def acquire(path: str) -> Lease | None:
    """Create the lease ``path``; ``None`` if another process took it at that moment.

    Raises ``FileExistsError`` if the lease exists, expired or not.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
    try:
        # Another process may find the file before it is locked, and take it for expired: it may
        # hold the lock now, or have removed the file already.
        with with_path(path):
            if try_lock(descriptor, fcntl.LOCK_EX) and not _is_removed(descriptor):
                content = encode_holder(this_process())
                write_all(descriptor, content)
                return Lease(path, descriptor, content)
    except BaseException:
        remove_quietly(path)
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_locked(path: str) -> bool:
    """Whether a process holds the lock of the lease ``path``, as far as locks reach.

    Opens the file for reading only, so that nobody who watches its directory takes it for a change.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def take_over(
    path: str, now: Callable[[], float] | None = None, *, silence: float = EXPIRY_SECONDS
) -> Lease | None:
    """Take over the lease ``path`` if it has expired; ``None`` if not, or if it was released.

    Until :meth:`Lease.write_holder` the file names the former holder. ``now`` returns the time of
    the filesystem; by default a file that is made beside ``path`` shows it. Raises ``OSError``
    if the lease can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    now = now or FilesystemClock(os.path.dirname(path)).now
    try:
        with with_path(path):
            if try_lock(descriptor, fcntl.LOCK_EX) and (
                _was_released_here(descriptor) or is_expired(descriptor, now, silence=silence)
            ):
                return Lease(path, descriptor, os.pread(descriptor, _HOLDER_LIMIT, 0))
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_removed(descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:  # a network filesystem reports a removed file so
        return True


def _file(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _was_released_here(descriptor: int) -> bool:
    """Whether this process has released the lease, but could not remove its file."""
    ours = encode_holder(this_process())
    return (
        os.pread(descriptor, len(ours) + 1, 0) == ours
        and _file(descriptor) not in _held
        and os.fstat(descriptor).st_nlink > 0
    )
