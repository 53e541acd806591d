"""Where a directory's filesystem is mounted, and what kind it is of.

It is read from ``/proc/self/mountinfo``, a line for each mount; a later one hides an
earlier one at the same place.


Whether a filesystem answers at once, or over a network.
"""

from __future__ import annotations

import os
import re
import secrets
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

MOUNTINFO = "/proc/self/mountinfo"

_ONE_KERNELS = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "bcachefs",
        "jfs",
        "tmpfs",
        "ramfs",
        "overlay",
        "vfat",
        "exfat",
        "ntfs3",
    ]
)


@dataclass(frozen=True)
class Mount:
    """A mounted filesystem: where, what, from where, and how."""

    point: str
    kind: str
    source: str
    options: frozenset[str]


_OCTAL = re.compile(r"\\([0-7]{3})")


def parse(text: str) -> list[Mount]:
    """The mounts that ``mountinfo`` tells, in its order. Lines that are odd are left out."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2:
            options = {*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else ())}
            # Bytes stand there as octal digits, whatever their encoding.
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            point = os.fsdecode(point.encode("latin-1")) if point != fields[4] else point
            mounts.append(Mount(point, rest[0], rest[1], frozenset(options)))
    return mounts


def read() -> list[Mount]:
    """The mounts of this host."""
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def mount_of(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that holds the absolute ``path``, whose links are resolved."""
    holding = [mount for mount in mounts if is_below(path, mount.point)]
    longest = max((len(mount.point) for mount in holding), default=0)
    return next((m for m in reversed(holding) if len(m.point) == longest), None)


def is_below(path: str, point: str) -> bool:
    """Whether the absolute ``path`` is ``point``, or below it."""
    return path == point or path.startswith(point.rstrip("/") + "/")


def tells_all_changes(path: str) -> bool:
    """Whether inotify tells of every change below ``path``: all of them go through this kernel.

    An NFS server's own disk is such a filesystem, too: its clients' changes are carried out
    by its kernel. What is not known is not such.
    """
    try:
        mount = mount_of(read(), os.path.realpath(path))
    except OSError:
        return False
    return mount is not None and mount.kind in _ONE_KERNELS


SLOW_SECONDS = 0.0003
"""What a look at one file takes where it is better to have several threads look."""

LOOKS = 9
"""Looks of which the median counts, for others may keep a host busy at any moment."""


def is_slow(directory: str) -> bool:
    """Whether a look at a file in ``directory`` takes long. Leaves no trace there."""
    return statistics.median(_look(directory) for _ in range(LOOKS)) > SLOW_SECONDS


def _look(directory: str) -> float:
    # Of a name that nobody has asked for yet, no cache knows that it is not there.
    path = f"{directory}/{secrets.token_hex(8)}"
    begun = time.monotonic()
    with suppress(OSError):
        os.lstat(path)
    return time.monotonic() - begun
