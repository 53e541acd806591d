"""The clock of a filesystem against the host's, and how finely it keeps times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.scratch import make
from gobbler.fs.clock import FilesystemClock

NOTABLE = 2.0
"""Seconds of difference that deserve a warning."""

UNUSABLE = 30.0
"""Seconds of difference at which the ages of requests come out wrong: they live for a minute."""

MEND = "Have the host and the file server set their clocks by the same source: chrony or NTP."

_PROBED_NS = 1_000_000_001_123_456_789
_GRANULARITIES = ((1, "1 ns"), (100, "100 ns"), (1000, "1 µs"), (1_000_000, "1 ms"))
_SECOND = 1_000_000_000


def clock(topic: Topic, directory: str, now: Callable[[], float] = time.time) -> Finding:
    """How far the filesystem's clock is from the host's."""
    ahead = FilesystemClock(directory).now() - now()
    way = "ahead of" if ahead > 0 else "behind"
    sentence = f"the filesystem's clock is {abs(ahead):.1f} seconds {way} this host's"
    if abs(ahead) > UNUSABLE:
        return topic.fault(sentence, MEND)
    if abs(ahead) > NOTABLE:
        return topic.warning(sentence, MEND)
    return topic.ok(f"the filesystem's clock and this host's differ by {abs(ahead):.2f} seconds")


def _mtime_ns(path: str) -> int:
    return os.stat(path).st_mtime_ns


def granularity(topic: Topic, directory: str, kept: Callable[[str], int] = _mtime_ns) -> Finding:
    """How finely times of files are kept; ``kept`` reads one, in nanoseconds."""
    path = f"{directory}/time"
    make(path)
    os.utime(path, ns=(_PROBED_NS, _PROBED_NS))
    lost = abs(_PROBED_NS - kept(path))
    for unit, name in _GRANULARITIES:
        if lost < unit:
            return topic.ok(f"times are kept to {name}")
    seconds = 2 if lost > _SECOND else 1
    return topic.warning(
        f"times are kept to {seconds} s only: changes within that time can't be told apart, nor "
        f"put in order",
        "A request that is corrected that quickly is refused as processed already. ext4 made with "
        "inodes of 256 bytes, XFS, NFS and the like keep nanoseconds.",
    )
