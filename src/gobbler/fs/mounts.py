"""Mounted filesystems: where each is mounted, of what kind it is, and its latency.

The list comes from ``/proc/self/mountinfo``, which has a line for each mount. A later mount hides
an earlier one at the same place. The latency is measured: a local filesystem answers at once, a
server over a network does not.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"

_LOCAL_KINDS = {
    "ext2": 0xEF53,
    "ext3": 0xEF53,
    "ext4": 0xEF53,
    "xfs": 0x58465342,
    "btrfs": 0x9123683E,
    "zfs": 0x2FC12FC1,
    "f2fs": 0xF2F52010,
    "bcachefs": 0xCA451A4E,
    "jfs": 0x3153464A,
    "tmpfs": 0x01021994,
    "ramfs": 0x858458F6,
    "overlay": 0x794C7630,
    "vfat": 0x4D44,
    "exfat": 0x2011BAB0,
    "ntfs3": 0x7366746E,
}
"""Filesystems of one host, and the number by which ``statfs(2)`` names each."""

_STATFS_BYTES = 256
"""More than a ``struct statfs``, whose first number is the kind."""


class Mount(NamedTuple):
    """A mounted filesystem: where, what, from where, and how."""

    point: str
    kind: str
    source: str
    options: frozenset[str]


_OCTAL = re.compile(r"\\([0-7]{3})")


def parse(text: str) -> list[Mount]:
    """The mounts in the text of ``mountinfo``, in its order. Invalid lines are skipped."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2:
            options = {*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else ())}
            # Some bytes are written as octal digits, whatever their encoding.
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            point = os.fsdecode(point.encode("latin-1")) if point != fields[4] else point
            mounts.append(Mount(point, rest[0], rest[1], frozenset(options)))
    return mounts


def read() -> list[Mount]:
    """The mounts of this host."""
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def mount_of(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that holds ``path``, an absolute path without symbolic links."""
    holding = [mount for mount in mounts if is_below(path, mount.point)]
    longest = max((len(mount.point) for mount in holding), default=0)
    return next((m for m in reversed(holding) if len(m.point) == longest), None)


def is_below(path: str, point: str) -> bool:
    """Whether the absolute ``path`` is ``point`` or below it."""
    return path == point or path.startswith(point.rstrip("/") + "/")


def reports_all_changes(path: str) -> bool:
    """Whether inotify reports every change below ``path``: no other host can change it.

    This includes the disk of an NFS server, whose own kernel makes the changes of its clients.
    ``False`` where the filesystem is not known.
    """
    path = os.path.realpath(path)
    try:
        mount = mount_of(read(), path)
        if mount is None:  # in a chroot, the list has only what is mounted below
            return _kind_number(path) in _LOCAL_KINDS.values()
    except OSError:
        return False
    return mount.kind in _LOCAL_KINDS


def _kind_number(path: str) -> int:
    """The number by which ``statfs(2)`` names the filesystem of ``path``. Raises ``OSError``."""
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), found) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return ctypes.c_long.from_buffer(found).value & 0xFFFFFFFF


HIGH_LATENCY_SECONDS = 0.0003
"""Seconds for one ``stat`` from which several threads get more done than one."""

SAMPLES = 9
"""Number of calls; their median counts, since other processes may slow down a single call."""


def has_high_latency(directory: str) -> bool:
    """Whether the filesystem of ``directory`` has a high latency. Changes nothing there."""
    median = sorted(_sample(directory) for _ in range(SAMPLES))[SAMPLES // 2]
    return median > HIGH_LATENCY_SECONDS


def _sample(directory: str) -> float:
    # No cache knows that a random name does not exist, so the server must answer.
    path = f"{directory}/{secrets.token_hex(8)}"
    begun = time.monotonic()
    with suppress(OSError):
        os.lstat(path)
    return time.monotonic() - begun
