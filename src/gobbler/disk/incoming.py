"""What is being built: ``registry/..incoming/``, and who is still building it.

::

    ..incoming/
        {job}.lock      held with flock by the builder; tells host and process
        {job}/
            tree/       the version (or project) that is being built
            intent      what must be finished once tree/ has been renamed into place
            log         the log entry; linked into ..logs/ after the rename

The rename of ``tree`` out of the job is the commit point. A job is abandoned when its
lock is free and nothing shows that its builder lives.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import msgspec
from msgspec import Struct

from gobbler.disk.locks import try_lock
from gobbler.disk.naming import at
from gobbler.disk.opening import is_there
from gobbler.disk.writing import DIRECTORY_MODE, PRIVATE_FILE_MODE, remove_quietly, write_all
from gobbler.names import INCOMING

logger = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"

SILENCE = 600.0
"""Seconds without a sign of life after which a builder on another host is given up."""

SIGN_EVERY = 20.0
"""Seconds between two signs of life."""


class Builder(Struct, frozen=True):
    """The process that builds: enough to find out whether it still lives."""

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


def this_process() -> Builder:
    """The builder that is us."""
    host, boot, namespace = _this_host()
    return Builder(host, boot, namespace, os.getpid(), _process_start(os.getpid()))


class Job:
    """One piece of work below ``..incoming``; made by :func:`new_job`.

    ``unfinished`` is set when something was published and could neither be completed nor
    be put back: the job then stays, and the next sweep completes it.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.tree = f"{path}/tree"
        self.intent = f"{path}/intent"
        self.log = f"{path}/log"
        self.lock = path + LOCK_SUFFIX
        self.unfinished = False
        self._descriptor = descriptor
        self._next_sign = 0.0

    def sign_of_life(self) -> None:
        """Show services on other hosts, now and then, that this job goes on."""
        now = time.monotonic()
        if now >= self._next_sign:
            with at(self.lock):
                os.utime(self._descriptor)
            self._next_sign = now + SIGN_EVERY


@contextmanager
def new_job(registry: str) -> Iterator[Job]:
    """Start a job and remove all that is left of it at the end of the block."""
    job = _start(f"{registry}/{INCOMING}")
    try:
        yield job
    finally:
        _discard(job)


def _start(incoming: str) -> Job:
    while True:
        path = f"{incoming}/{time.time_ns():x}-{secrets.token_hex(4)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path + LOCK_SUFFIX, flags, PRIVATE_FILE_MODE)
        try:
            # A sweep may have found the lock file before it was locked: leave it to that.
            with at(path + LOCK_SUFFIX):
                ours = try_lock(descriptor, fcntl.LOCK_EX)
                if ours:
                    write_all(descriptor, msgspec.json.encode(this_process()))
            if ours:
                os.mkdir(path, DIRECTORY_MODE)
                return Job(path, descriptor)
        except BaseException:
            remove_quietly(path + LOCK_SUFFIX)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _discard(job: Job) -> None:
    try:
        # From here on nobody builds it: what stays is for the next sweep, which must not
        # take it for the work of this process, though that lives on.
        with suppress(OSError):
            os.ftruncate(job._descriptor, 0)
        if job.unfinished:
            return
        # First the intent: with it, but without its tree, a job counts as published.
        with suppress(FileNotFoundError):
            os.unlink(job.intent)
        shutil.rmtree(job.path, ignore_errors=True)
        # While anything is left, the lock file must stay: a sweep finds the rest by it.
        if not is_there(job.path):
            os.unlink(job.lock)
    except OSError as error:
        logger.warning("could not remove %s, which the next sweep will: %s", job.path, error)
    finally:
        os.close(job._descriptor)


def abandoned_jobs(registry: str) -> Iterator[Job]:
    """Each job that nobody builds any more, held by us until the next one is asked for.

    What is left of it is removed when the caller asks for the next; a job whose handling
    raised stays for the next sweep.
    """
    incoming = f"{registry}/{INCOMING}"
    for name in sorted(os.listdir(incoming)):
        if not name.endswith(LOCK_SUFFIX):
            continue
        path = f"{incoming}/{name[: -len(LOCK_SUFFIX)]}"
        try:
            descriptor = os.open(path + LOCK_SUFFIX, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.error("could not look at %s: %s", path + LOCK_SUFFIX, error)
            continue
        try:
            ours = try_lock(descriptor, fcntl.LOCK_EX) and _is_abandoned(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if not ours:
            os.close(descriptor)
            continue
        job = Job(path, descriptor)
        yield job
        _discard(job)


def _is_abandoned(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return False  # finished while we were opening it
    try:
        builder = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Builder)
    except msgspec.DecodeError:
        return True  # nobody's: it was given up, or killed before it had written who it is
    host, boot, namespace = _this_host()
    if (builder.host, builder.boot) != (host, boot):
        # Another host, or this one before it was booted: locks may not reach that far.
        return builder.host == host or time.time() - status.st_mtime > SILENCE
    if builder.namespace == namespace:
        return _process_start(builder.pid) != builder.started
    return True
