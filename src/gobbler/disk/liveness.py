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
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import msgspec
from msgspec import Struct

from gobbler.disk.locks import try_lock

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
