"""The states of a source file and of its copy, as one attempt describes them for the next."""

from __future__ import annotations

import os
from typing import NamedTuple

from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.lease import this_boot

FLUSHED = "flushed"
"""In place of a boot: the copy was on disk, whatever has happened since."""


class SourceState(NamedTuple):
    """The fingerprint of a source file, and when its inode changed, in nanoseconds since the epoch.

    The user may set the time of modification, but not that of the inode.
    """

    fingerprint: Fingerprint
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> SourceState:
        """The state of a file with this ``status``."""
        return cls(Fingerprint.of(status), status.st_ctime_ns)


class CopyState(NamedTuple):
    """The state of a copy when its writer closed it.

    ``source_changed_ns``: when the inode of its source had changed. ``inode`` and ``mtime_ns`` are
    those of the copy. ``boot``: of the kernel that has it in memory, or :data:`FLUSHED`.
    ``record``: the path of its record of pieces, which is not needed any more.
    """

    source_changed_ns: int
    inode: int
    mtime_ns: int
    boot: str
    record: str = ""

    @classmethod
    def of(cls, copy: int, source: SourceState, record: str = "") -> CopyState:
        """The state of an open ``copy`` of ``source``."""
        status = os.fstat(copy)
        return cls(source.changed_ns, status.st_ino, status.st_mtime_ns, this_boot(), record)

    def is_safe(self) -> bool:
        """Whether all of the copy is on disk, or in the memory of this host."""
        return self.boot == FLUSHED or (self.boot != "" and self.boot == this_boot())
