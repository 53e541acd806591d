"""Reading and writing large files past the page cache.

Copying through the page cache can take longer than hashing the same bytes, above all where the
kernel has to find room for them first, and it evicts what others read. ``O_DIRECT`` (see
``open(2)``) avoids both. It requires offsets, lengths and buffers that are multiples of a block.

So a large file is written directly, and read directly where it is not in the page cache already.
Only on a block device of this host: over a network, each of many requests would wait for the
server, which the page cache spares by reading ahead and writing behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from gobbler.fs.atomic_write import write_all

ALIGNMENT = 4096
"""Bytes; offsets and lengths must be multiples of it. No disk has larger blocks."""

DIRECT_SIZE = 64 * 1024 * 1024
"""Bytes from which a file bypasses the page cache.

A direct write of one chunk runs while the next chunk is hashed. Many files of a few chunks would
wait for their writes instead.
"""


def _is_on_block_device(descriptor: int) -> bool:
    return os.major(os.fstat(descriptor).st_dev) != 0


class DirectFile:
    """Appends to an open file ``descriptor`` on the disk, and not in the page cache.

    What can't be written directly goes through the page cache.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_direct = _is_on_block_device(descriptor) and self._switch(os.O_DIRECT)

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


def aligned_buffer(size: int) -> memoryview:
    """Memory of ``size`` bytes that begins at a page, as direct reads and writes require."""
    return memoryview(mmap.mmap(-1, size))


class PieceReader:
    """Reads pieces of an open file: from the page cache if they are there, else from the disk.

    Several threads may read at the same time. Close it after use; the file stays open.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._direct = -1
        self.is_direct = False
        if size >= DIRECT_SIZE and _is_on_block_device(descriptor):
            # The same file, opened once more: threads that read it otherwise share no flag.
            # Where that can't be, the page cache is used.
            with suppress(OSError):
                flags = os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NONBLOCK
                self._direct = os.open(f"/proc/self/fd/{descriptor}", flags)
                self.is_direct = True

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset``; the bytes read, which are fewer only at the end.

        A direct read needs an ``offset`` and a ``buffer`` that are aligned.
        """
        done = 0
        while done < len(buffer):
            count = self._read(buffer[done:], offset + done)
            if count == 0:
                break
            done += count
        return done

    def _read(self, buffer: memoryview, offset: int) -> int:
        if (
            self.is_direct
            and not (offset | len(buffer)) % ALIGNMENT
            and not _is_cached(self._descriptor, offset, len(buffer))
        ):
            try:
                return os.preadv(self._direct, [buffer], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:  # larger blocks, or no direct reads
                    raise
                self.is_direct = False
        return os.preadv(self._descriptor, [buffer], offset)

    def close(self) -> None:
        """Close what was opened for direct reads."""
        if self._direct >= 0:
            os.close(self._direct)


@contextmanager
def pieces_of(
    descriptor: int, expected: int, chunk: int, *, start: int = 0
) -> Iterator[Iterator[memoryview]]:
    """The pieces of an open file from ``start`` to its end, of ``chunk`` bytes but for the last.

    Another thread reads the next one meanwhile. A piece is valid until the next one but one is
    asked for. ``expected`` is the size in bytes that a ``stat`` reported.
    """
    reader = PieceReader(descriptor, expected)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="read") as ahead:
            yield _pieces(reader, ahead, chunk, start)
    finally:
        reader.close()


def _pieces(
    reader: PieceReader, ahead: ThreadPoolExecutor, chunk: int, offset: int
) -> Iterator[memoryview]:
    # The caller may still use the piece before the one that it asks for.
    buffers = [aligned_buffer(chunk) for _ in range(3)]
    turn = 0
    reading: Future[int] = ahead.submit(reader.read, buffers[turn], offset)
    while count := reading.result():
        piece = buffers[turn][:count]
        offset += count
        turn = (turn + 1) % len(buffers)
        reading = ahead.submit(reader.read, buffers[turn], offset)
        yield piece


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_MAP_FAILED = ctypes.c_void_p(-1).value


def _is_cached(descriptor: int, offset: int, size: int) -> bool:
    """Whether at least half of a range of an open file is in the page cache.

    Also if that can't be known: the kernel tells it only of a file that this process may write.
    """
    mapped = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, offset)
    if mapped == _MAP_FAILED:
        return True
    try:
        found = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        if _libc.mincore(mapped, size, found) != 0:
            return True
        return 2 * found.raw.count(1) >= len(found)
    finally:
        _libc.munmap(mapped, size)
