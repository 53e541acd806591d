"""One record that takes the place of another: written as a draft, renamed into place.

A rename makes such a change whole by itself, so it needs no job (see
:mod:`gobbler.registry.workspace`), but something that tells when a file is nobody's any more::

    ..incoming/{unique}-{kernel}.draft

Its writer keeps the draft locked until it is in place. If the lock is free, a writer of the
same kernel is dead, provided that locks exclude there; of any other writer only silence tells.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import suppress

from gobbler.fs.atomic_write import FILE_MODE, remove_quietly, write_all
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.flush import Durability
from gobbler.fs.lease import EXPIRY_SECONDS, locks_exclude, this_kernel
from gobbler.fs.lock import try_lock
from gobbler.fs.os_errors import raising_fault, with_path
from gobbler.model.names import INCOMING
from gobbler.registry.workspace import unique_name

SUFFIX = ".draft"

logger = logging.getLogger(__name__)


def put_record(registry: str, target: str, data: bytes, durability: Durability) -> None:
    """Put ``data`` at ``target``, a path in the directory ``registry``, atomically.

    With full durability the content is on disk before it is visible there; the rename itself
    is durable only once both directories have been flushed: see :func:`flushed_with`.
    """
    path, descriptor = _begin(f"{registry}/{INCOMING}")
    try:
        with raising_fault("write", path):
            write_all(descriptor, data)
            os.close(os.dup(descriptor))  # network filesystems write then, and tell what failed
        if durability is Durability.FULL:
            with with_path(path):
                os.fsync(descriptor)
        os.rename(path, target)
    except BaseException:
        remove_quietly(path)
        raise
    finally:
        os.close(descriptor)


def flushed_with(registry: str, target: str) -> tuple[str, str]:
    """The directories to be flushed once a record was put at ``target``."""
    return os.path.dirname(target), f"{registry}/{INCOMING}"


def _begin(incoming: str) -> tuple[str, int]:
    while True:
        path = f"{incoming}/{unique_name()}-{this_kernel()}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with with_path(path):
                # Somebody may have found it before it was locked: leave it to them.
                if try_lock(descriptor, fcntl.LOCK_EX) and os.fstat(descriptor).st_nlink:
                    return path, descriptor
        except BaseException:
            remove_quietly(path)
            os.close(descriptor)
            raise
        os.close(descriptor)


def sweep_drafts(registry: str) -> int:
    """Remove the drafts that are nobody's; how many. What fails is logged."""
    incoming = f"{registry}/{INCOMING}"
    clock = FilesystemClock(incoming)
    swept = 0
    for name in os.listdir(incoming):
        if name.endswith(SUFFIX):
            try:
                swept += _sweep(f"{incoming}/{name}", clock.now)
            except OSError as error:
                logger.error("could not look at %s: %s", f"{incoming}/{name}", error)
    return swept


def _sweep(path: str, now: Callable[[], float]) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False  # it is in place now
    try:
        with with_path(path):
            if not try_lock(descriptor, fcntl.LOCK_EX) or not _is_nobodys(path, descriptor, now):
                return False
        # It may have been put in place meanwhile: then nothing stands here.
        with suppress(FileNotFoundError):
            os.unlink(path)
            return True
        return False
    finally:
        os.close(descriptor)


def _is_nobodys(path: str, descriptor: int, now: Callable[[], float]) -> bool:
    """Whether the writer of a draft, which is open and locked by us, is gone."""
    kernel = path.removesuffix(SUFFIX).rpartition("-")[2]
    if kernel == this_kernel() and locks_exclude(descriptor):
        return True
    return now() - os.fstat(descriptor).st_mtime > EXPIRY_SECONDS
