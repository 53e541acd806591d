"""The fingerprint of a file: it differs between two states of a file, without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple


class Fingerprint(NamedTuple):
    """Inode, size in bytes, and modification time in nanoseconds since the epoch.

    The device is not part of it: hosts that mount one filesystem give it different device
    numbers, and a fingerprint that one host takes is compared on another.
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """The fingerprint of a file with this ``status``."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)
