"""Whether a filesystem keeps names and times as they are written, and what its clock says."""

from __future__ import annotations

import errno
import os
import time
import unicodedata
from collections.abc import Callable

from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.scratch import create_file
from gobbler.errors import quoted
from gobbler.fs.clock import FilesystemClock
from gobbler.model.names import MAX_NAME_BYTES

NAMES_REMEDY = (
    "Use a filesystem such as ext4, XFS or NFS, or take away mount options that change names."
)

_UNRELATED = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}

COMPOSED = unicodedata.normalize("NFC", "Zürich")
DECOMPOSED = unicodedata.normalize("NFD", "Zürich")
SPECIAL_CHARACTERS = 'a:b*c?"<>|\\ .'


def long_names(topic: Topic, directory: str) -> Finding:
    """Whether names can have 255 bytes."""
    for name in ("x" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2) + "x"):
        try:
            kept = _keeps(directory, name)
        except OSError as error:
            if error.errno in _UNRELATED:
                raise
            return topic.warning(
                f"names of {MAX_NAME_BYTES} bytes fail: {error.strerror}",
                "Files with long names can't be published. " + NAMES_REMEDY,
            )
        if not kept:
            return topic.warning("long names come back changed", NAMES_REMEDY)
    return topic.ok(f"names can have {MAX_NAME_BYTES} bytes")


def kept_names(topic: Topic, directory: str) -> Finding:
    """Whether names come back byte for byte, and different names are different files."""
    for name in (COMPOSED, DECOMPOSED, "日本語", SPECIAL_CHARACTERS):
        try:
            kept = _keeps(directory, name)
        except OSError as error:
            if error.errno in _UNRELATED:
                raise
            return topic.warning(
                f"the name {quoted(name)} fails: {error.strerror}",
                "Files with such names can't be published. " + NAMES_REMEDY,
            )
        if not kept:
            return topic.fault(f"the name {quoted(name)} comes back changed", NAMES_REMEDY)
    if _same(directory, COMPOSED, DECOMPOSED):
        return topic.fault("different names that look the same are one file", NAMES_REMEDY)
    return topic.ok("names come back byte for byte")


def letter_case(topic: Topic, directory: str) -> Finding:
    """Whether ``a`` and ``A`` are two names."""
    if _same(directory, "letter-case", "Letter-Case"):
        return topic.fault(
            "names that differ in upper and lower case only are one file",
            NAMES_REMEDY,
        )
    return topic.ok("names are case-sensitive")


def _keeps(directory: str, name: str) -> bool:
    # In a directory of its own, so that only this name is listed.
    place = f"{directory}/names"
    os.mkdir(place)
    path = os.path.join(os.fsencode(place), name.encode())
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        kept = os.listdir(os.fsencode(place)) == [name.encode()]
        os.unlink(path)
        return kept
    finally:
        os.rmdir(place)


def _same(directory: str, name: str, other: str) -> bool:
    path = os.path.join(os.fsencode(directory), name.encode())
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        return os.path.lexists(os.path.join(os.fsencode(directory), other.encode()))
    finally:
        os.unlink(path)


WARNING_SECONDS = 2.0
"""Seconds of difference that cause a warning."""

FAULT_SECONDS = 30.0
"""Seconds of difference that cause a fault: requests expire after a minute."""

CLOCK_REMEDY = (
    "Have the host and the file server set their clocks by the same source: chrony or NTP."
)

_PROBED_NS = 1_000_000_001_123_456_789
_GRANULARITIES = ((1, "1 ns"), (100, "100 ns"), (1000, "1 µs"), (1_000_000, "1 ms"))
_SECOND = 1_000_000_000


def clock(topic: Topic, directory: str, now: Callable[[], float] = time.time) -> Finding:
    """The difference between the clocks of the filesystem and of this host."""
    ahead = FilesystemClock(directory).now() - now()
    way = "ahead of" if ahead > 0 else "behind"
    sentence = f"the clock of the filesystem is {abs(ahead):.1f} seconds {way} that of this host"
    if abs(ahead) > FAULT_SECONDS:
        return topic.fault(sentence, CLOCK_REMEDY)
    if abs(ahead) > WARNING_SECONDS:
        return topic.warning(sentence, CLOCK_REMEDY)
    return topic.ok(f"the clocks of filesystem and host differ by {abs(ahead):.2f} seconds")


def _mtime_ns(path: str) -> int:
    return os.stat(path).st_mtime_ns


def granularity(topic: Topic, directory: str, mtime: Callable[[str], int] = _mtime_ns) -> Finding:
    """The resolution of file times; ``mtime`` reads one, in nanoseconds."""
    path = f"{directory}/time"
    create_file(path)
    os.utime(path, ns=(_PROBED_NS, _PROBED_NS))
    lost = abs(_PROBED_NS - mtime(path))
    for unit, name in _GRANULARITIES:
        if lost < unit:
            return topic.ok(f"file times have a resolution of {name}")
    seconds = 2 if lost > _SECOND else 1
    return topic.warning(
        f"file times have a resolution of {seconds} s only: the service can't tell apart changes "
        f"within that time",
        "Use ext4 with inodes of 256 bytes, XFS or NFS, which keep nanoseconds. Otherwise, the "
        "service refuses a request that is corrected so quickly, as processed already.",
    )
