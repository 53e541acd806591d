"""Direct I/O: write a large file to the disk, and not to the page cache.

Copying into the page cache can take longer than hashing the same bytes, and it evicts what others
read. ``O_DIRECT`` (see ``open(2)``) avoids both. It requires offsets, lengths and buffers that are
multiples of a block; other writes go through the page cache.
"""

from __future__ import annotations

import errno
import fcntl
import os

from gobbler.fs.atomic_write import write_all

ALIGNMENT = 4096
"""Bytes; offsets and lengths must be multiples of it. No disk has larger blocks."""


class DirectFile:
    """Writes an open, empty file ``descriptor`` from its start to its end.

    Writes are direct only on a block device of this host: over a network, each of many small
    writes would wait for the server.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_direct = os.major(os.fstat(descriptor).st_dev) != 0 and self._switch(os.O_DIRECT)

    def _switch(self, direct: int) -> bool:
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | direct)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a filesystem without direct writes
                raise
            return False
        return True

    def write(self, part: memoryview, offset: int) -> None:
        """Append all of ``part``; ``offset`` is the present size of the file."""
        while part and self.is_direct:
            if (offset | len(part)) % ALIGNMENT:
                self._stop_direct_writes()
                break
            try:
                written = os.write(self._descriptor, part)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._stop_direct_writes()  # larger blocks, or no direct writes
                break
            offset, part = offset + written, part[written:]
        write_all(self._descriptor, part)

    def _stop_direct_writes(self) -> None:
        self._switch(0)
        self.is_direct = False
