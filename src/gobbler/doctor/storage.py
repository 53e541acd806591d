"""Space, flushing, and copying without moving bytes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable

from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.places import Place
from gobbler.doctor.scratch import make
from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.open import closing

LITTLE = 0.05
"""Part of a filesystem, free, below which there is a warning."""

LITTLE_BYTES = 1 << 30

FICLONE = 0x40049409
BLOCK = 65536

Statvfs = Callable[[str], os.statvfs_result]

_libc = ctypes.CDLL(None, use_errno=True)


def space(topic: Topic, place: Place, look: Statvfs = os.statvfs) -> Finding:
    """Whether there is room for data."""
    found = look(place.path)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if free == 0 and total > 0:
        return topic.fault(
            f"the filesystem of {place} is full",
            "Make room, or enlarge it: nothing can be published.",
        )
    sentence = f"{_size(free)} of {_size(total)} free"
    if total and (free < LITTLE * total or free < LITTLE_BYTES):
        return topic.warning(f"only {sentence}", "Make room, or enlarge the filesystem, in time.")
    return topic.ok(sentence)


def inodes(topic: Topic, place: Place, look: Statvfs = os.statvfs) -> Finding:
    """Whether there is room for files, of whichever size."""
    found = look(place.path)
    if found.f_files == 0:
        return topic.ok("as many as there is space for")
    free, total = found.f_favail, found.f_files
    if free == 0:
        return topic.fault(
            f"the filesystem of {place} has no inodes left: no file can be made",
            "Remove files, or make a filesystem with more inodes.",
        )
    sentence = f"{free:,} of {total:,} free"
    if free < LITTLE * total:
        return topic.warning(
            f"only {sentence}: many small files will fill it before it is full of data",
            "Remove files, or make a filesystem with more inodes.",
        )
    return topic.ok(sentence)


def _size(count: int) -> str:
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB")
    return f"{count / unit:,.1f} {name}"


def flushing(topic: Topic, directory: str) -> Finding:
    """Whether what is written can be flushed to disk, as every publication is."""
    path = f"{directory}/flushed"
    mend = "Look into the kernel's log and at the disk: what is acknowledged may be lost."
    make(path, b"x" * BLOCK)
    with closing(os.open(path, os.O_RDWR | os.O_CLOEXEC)) as file:
        try:
            os.fsync(file)
            flush_directory(directory, Durability.FULL)
            # Not the service's own flush, which keeps a descriptor for ever.
            if _libc.syncfs(file) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        except OSError as error:
            return topic.fault(f"flushing to disk fails: {error.strerror}", mend)
    return topic.ok("fsync and syncfs work")


def copying(topic: Topic, source: str, target: str) -> Finding:
    """Whether the kernel copies from one directory to another by itself; good to know only."""
    one, other = f"{source}/copied", f"{target}/copy"
    make(one, os.urandom(BLOCK))
    make(other)
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
            "copy_file_range claims to copy, but does not", "Report it to the kernel's vendor."
        )
    if shares:
        return topic.ok("copies can share their blocks (reflink)")
    if copied:
        return topic.ok("copies can be left to the kernel (copy_file_range); no reflink")
    return topic.ok("copies are read and written; neither reflink nor copy_file_range")


def copying_inside(topic: Topic, directory: str) -> Finding:
    """Whether the kernel copies within one directory by itself; good to know only."""
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
