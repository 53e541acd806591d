"""Who works on something, and whether that process still lives.

A *presence* is a file that its holder keeps locked with ``flock`` and that tells who the
holder is. The lock vanishes with the process; where locks can't be trusted, the identity
(on the same host) or silence (on another one) tells that the holder is gone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from functools import cache

import msgspec
from msgspec import Struct

from gobbler.disk.locks import try_lock
from gobbler.disk.naming import at
from gobbler.disk.writing import PRIVATE_FILE_MODE, remove_quietly, write_all

SILENCE = 600.0
"""Seconds without a sign of life after which a holder on another host is given up."""

SIGN_EVERY = 20.0
"""Seconds between two signs of life."""


class Holder(Struct, frozen=True):
    """The process that works: enough to find out whether it still lives."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str


def _process_start(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            fields = handle.read().rpartition(")")[2].split()
            # A zombie is only a name that nobody has asked about yet.
            return "" if fields[0] in ("Z", "X") else fields[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""  # any other error does not tell that it is gone


@cache
def _this_host() -> tuple[str, str, str]:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            boot = handle.read().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except FileNotFoundError:  # any other error may pass, and what is returned is kept
        boot = namespace = ""
    return socket.gethostname(), boot, namespace


def this_process() -> Holder:
    """The holder that is us."""
    host, boot, namespace = _this_host()
    return Holder(host, boot, namespace, os.getpid(), _process_start(os.getpid()))


class Presence:
    """The presence at ``path``, held by us; made by :func:`appear` or :func:`inherit`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._next_sign = 0.0

    def sign_of_life(self) -> None:
        """Show processes on other hosts, now and then, that we are still there."""
        now = time.monotonic()
        if now >= self._next_sign:
            with at(self.path):
                os.utime(self._descriptor)
            self._next_sign = now + SIGN_EVERY

    def assume(self) -> None:
        """Put our own name into what was inherited."""
        with at(self.path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, msgspec.json.encode(this_process()), 0)

    def resign(self) -> None:
        """From here on it is nobody's, though this process lives on."""
        with at(self.path):
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Let go of the file, which stays."""
        os.close(self._descriptor)

    def vanish(self) -> None:
        """Remove the file and let go of it."""
        try:
            os.unlink(self.path)
        finally:
            self.close()


def appear(path: str) -> Presence | None:
    """Make the presence ``path``; ``None`` if somebody else took it at that moment.

    Raises ``FileExistsError`` if there is one already.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
    try:
        # Somebody may have found the file before it was locked: leave it to them.
        with at(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX)
            if ours:
                write_all(descriptor, msgspec.json.encode(this_process()))
    except BaseException:
        remove_quietly(path)
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return Presence(path, descriptor)


def inherit(path: str) -> Presence | None:
    """Take the presence ``path`` of a holder that is gone.

    ``None`` if its holder lives or has just ended. Raises ``OSError`` if it can't be
    looked at. Until :meth:`~Presence.assume` it tells of the former holder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        with at(path):
            ours = try_lock(descriptor, fcntl.LOCK_EX) and _is_given_up(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if not ours:
        os.close(descriptor)
        return None
    return Presence(path, descriptor)


def _is_given_up(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return False  # ended while we were opening it
    try:
        holder = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except msgspec.DecodeError:
        return True  # nobody's: it was resigned, or its holder killed before it wrote who it is
    host, boot, namespace = _this_host()
    if (holder.host, holder.boot) != (host, boot):
        # Another host, or this one before it was booted: locks may not reach that far.
        return holder.host == host or time.time() - status.st_mtime > SILENCE
    if holder.namespace == namespace:
        return _process_start(holder.pid) != holder.started
    return True
