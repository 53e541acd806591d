"""Drafts: a change of one record, written to a draft file that is renamed over the record.

A single rename is atomic by itself, so such a change needs no workspace, only a file that shows
whether its writer lives::

    ..incoming/{unique}-{kernel}.draft

The writer keeps the draft locked until the rename. If the lock is free, a writer on the same
kernel is dead, where locks exclude. Any other writer is dead after
:data:`~gobbler.fs.lease.EXPIRY_SECONDS` of silence.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from gobbler.fs.atomic_write import FILE_MODE, remove_quietly, write_all
from gobbler.fs.clock import FilesystemClock
from gobbler.fs.flush import Durability
from gobbler.fs.lease import EXPIRY_SECONDS, locks_exclude, this_kernel
from gobbler.fs.lock import try_lock
from gobbler.fs.os_errors import raising_fault, with_path
from gobbler.model.names import INCOMING
from gobbler.registry.unique_name import unique_name

DRAFT_SUFFIX = ".draft"

logger = logging.getLogger(__name__)


def write_record(registry: str, target: str, data: bytes, durability: Durability) -> None:
    """Put ``data`` at ``target``, a path in the directory ``registry``, atomically.

    With full durability the content is on disk before it is visible there. Does *not* flush the
    rename: see :func:`directories_to_flush`.
    """
    path, descriptor = _make_draft(f"{registry}/{INCOMING}")
    try:
        with raising_fault("write", path):
            write_all(descriptor, data)
            os.close(os.dup(descriptor))  # a network filesystem writes now, and reports errors
        if durability is Durability.FULL:
            with with_path(path):
                os.fsync(descriptor)
        os.rename(path, target)
    except BaseException:
        remove_quietly(path)
        raise
    finally:
        os.close(descriptor)


def directories_to_flush(registry: str, target: str) -> tuple[str, str]:
    """The directories to flush after :func:`write_record` has put a record at ``target``."""
    return os.path.dirname(target), f"{registry}/{INCOMING}"


def _make_draft(incoming: str) -> tuple[str, int]:
    while True:
        path = f"{incoming}/{unique_name()}-{this_kernel()}{DRAFT_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with with_path(path):
                # Recovery may find the file before it is locked, and remove it.
                if try_lock(descriptor, fcntl.LOCK_EX) and os.fstat(descriptor).st_nlink:
                    return path, descriptor
        except BaseException:
            remove_quietly(path)
            os.close(descriptor)
            raise
        os.close(descriptor)


def remove_abandoned_drafts(registry: str, names: Iterable[str]) -> int:
    """Remove the drafts whose writer is dead; how many. Failures are logged.

    ``names`` is a listing of ``..incoming``.
    """
    incoming = f"{registry}/{INCOMING}"
    clock = FilesystemClock(incoming)
    removed = 0
    for name in names:
        if name.endswith(DRAFT_SUFFIX):
            try:
                removed += _remove_if_abandoned(f"{incoming}/{name}", clock.now)
            except OSError as error:
                logger.error("could not check the draft %s: %s", f"{incoming}/{name}", error)
    return removed


def _remove_if_abandoned(path: str, now: Callable[[], float]) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False  # renamed to its place, or removed
    try:
        with with_path(path):
            if not try_lock(descriptor, fcntl.LOCK_EX) or not _is_abandoned(path, descriptor, now):
                return False
        # The writer may have renamed it meanwhile: then nothing stands here.
        with suppress(FileNotFoundError):
            os.unlink(path)
            return True
        return False
    finally:
        os.close(descriptor)


def _is_abandoned(path: str, descriptor: int, now: Callable[[], float]) -> bool:
    """Whether the writer of a draft is dead. The caller has it open, and holds its lock."""
    kernel = path.removesuffix(DRAFT_SUFFIX).rpartition("-")[2]
    if kernel == this_kernel() and locks_exclude(descriptor):
        return True
    return now() - os.fstat(descriptor).st_mtime > EXPIRY_SECONDS
