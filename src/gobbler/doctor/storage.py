"""Free space and inodes, flushing to disk, and copies by the kernel."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from gobbler.doctor.findings import Finding, Place, Topic
from gobbler.doctor.scratch import create_file
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.hash import FICLONE
from gobbler.fs.open import closing

LOW = 0.05
"""Free fraction of a filesystem below which there is a warning."""

LOW_BYTES = 1 << 30

BLOCK = 65536

Statvfs = Callable[[str], os.statvfs_result]

_libc = ctypes.CDLL(None, use_errno=True)


def space(topic: Topic, place: Place, statvfs: Statvfs = os.statvfs) -> Finding:
    """Whether there is space for data."""
    found = statvfs(place.path)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if free == 0 and total > 0:
        return topic.fault(
            f"the filesystem of {place} is full",
            "Remove files or enlarge it: nothing can be published.",
        )
    sentence = f"{_size(free)} of {_size(total)} free"
    if total and (free < LOW * total or free < LOW_BYTES):
        return topic.warning(f"only {sentence}", "Remove files or enlarge the filesystem.")
    return topic.ok(sentence)


def inodes(topic: Topic, place: Place, statvfs: Statvfs = os.statvfs) -> Finding:
    """Whether there are inodes for new files."""
    found = statvfs(place.path)
    if found.f_files == 0:
        return topic.ok("no limit besides space")
    free, total = found.f_favail, found.f_files
    if free == 0:
        return topic.fault(
            f"the filesystem of {place} has no inodes left: no file can be created",
            "Remove files, or create a filesystem with more inodes.",
        )
    sentence = f"{free:,} of {total:,} free"
    if free < LOW * total:
        return topic.warning(
            f"only {sentence}: small files will use them up",
            "Remove files, or create a filesystem with more inodes.",
        )
    return topic.ok(sentence)


def _size(count: int) -> str:
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB")
    return f"{count / unit:,.1f} {name}"


OF_OTHERS = ("/", "/home", "/var")
"""Directories to which other programs and users write."""


def neighbours(topic: Topic, place: Place, others: Iterable[str] = OF_OTHERS) -> Finding:
    """Whether others write to the same filesystem. For information."""
    device = os.stat(place.path).st_dev
    shared = []
    for path in others:
        with suppress(OSError):
            if os.stat(path).st_dev == device:
                shared.append(path)
    if not shared:
        return topic.ok("none of the system's own directories is on this filesystem")
    return topic.ok(
        f"it shares a filesystem with {' and '.join(shared)}: whatever fills that stops "
        "publications, and large ones wait until it is written to disk. A filesystem of its own "
        "is better"
    )


def flushing(topic: Topic, directory: str) -> Finding:
    """Whether ``fsync`` and ``syncfs`` work, as every publication needs."""
    path = f"{directory}/flushed"
    remedy = "Check the disk and the kernel's log: acknowledged changes may be lost."
    create_file(path, b"x" * BLOCK)
    with closing(os.open(path, os.O_RDWR | os.O_CLOEXEC)) as file:
        try:
            os.fsync(file)
            flush_directory(directory, Durability.FULL)
            # Not the flush of the service, which keeps a descriptor.
            if _libc.syncfs(file) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        except OSError as error:
            return topic.fault(f"flushing to disk fails: {error.strerror}", remedy)
    return topic.ok("fsync and syncfs work")


def copying(topic: Topic, source: str, target: str) -> Finding:
    """Whether the kernel copies from one directory to the other. For information."""
    one, other = f"{source}/copied", f"{target}/copy"
    create_file(one, os.urandom(BLOCK))
    create_file(other)
    with (
        closing(os.open(one, os.O_RDONLY | os.O_CLOEXEC)) as reading,
        closing(os.open(other, os.O_RDWR | os.O_CLOEXEC)) as writing,
    ):
        shares = _if_possible(lambda: fcntl.ioctl(writing, FICLONE, reading)) is not None
        os.ftruncate(writing, 0)
        copied = _if_possible(lambda: os.copy_file_range(reading, writing, BLOCK, 0, 0)) or 0
        same = os.pread(writing, BLOCK, 0) == os.pread(reading, copied, 0)
    if copied and not same:
        return topic.warning(
            "copy_file_range copies wrong bytes", "Report it to the vendor of the kernel."
        )
    if shares:
        return topic.ok("copies can share their blocks (reflink)")
    if copied:
        return topic.ok("the kernel copies files (copy_file_range), without reflink")
    return topic.ok("copies are read and written: neither reflink nor copy_file_range works")


def copying_inside(topic: Topic, directory: str) -> Finding:
    """Whether the kernel copies within one directory. For information."""
    return copying(topic, directory, directory)


_NOT_HERE = {
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
    errno.ETXTBSY,
}


def _if_possible(call: Callable[[], int]) -> int | None:
    try:
        return call()
    except OSError as error:
        if error.errno in _NOT_HERE:
            return None
        raise
