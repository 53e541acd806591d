"""Writing a large file to the disk itself, rather than into memory that is flushed later.

Copying into the page cache, and finding memory for it, can take longer than computing a
checksum of the same bytes; and it drives out of memory what others read. With ``O_DIRECT``
(see ``open(2)``) neither happens. It wants offsets, lengths and buffers at multiples of a
block; whatever is not goes through the page cache after all.
"""

from __future__ import annotations

import errno
import fcntl
import os

from gobbler.fs.atomic_write import write_all

ALIGNMENT = 4096
"""Bytes of which everything must be a multiple; the blocks of no disk are larger."""


class DirectFile:
    """An open, empty file ``descriptor`` that is written from its start to its end.

    Only a filesystem on a block device of this host is written to directly: over a network,
    many small writes would wait for each other.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_direct = os.major(os.fstat(descriptor).st_dev) != 0 and self._switch(os.O_DIRECT)

    def _switch(self, direct: int) -> bool:
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | direct)
        except OSError as error:
            if error.errno != errno.EINVAL:  # as a filesystem says that has no such thing
                raise
            return False
        return True

    def write(self, part: memoryview, offset: int) -> None:
        """Write all of ``part``, which belongs at ``offset``, where the file ends by now."""
        while part and self.is_direct:
            if (offset | len(part)) % ALIGNMENT:
                self._give_up()
                break
            try:
                written = os.write(self._descriptor, part)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._give_up()  # some want larger blocks, or no such writes at all
                break
            offset, part = offset + written, part[written:]
        write_all(self._descriptor, part)

    def _give_up(self) -> None:
        self._switch(0)
        self.is_direct = False
