"""Compare open files byte for byte.

Comparing is far cheaper than hashing, and certain. Several threads compare the pieces of a large
file: memory gives each of them as much, and a disk more to several readers than to one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from gobbler.fs.direct_io import DIRECT_SIZE, PieceReader
from gobbler.model.progress import Progress

COMPARED_CHUNK = 256 * 1024
"""Bytes that are compared at a time."""

PIECE = 1024 * 1024
"""Bytes of a large file that a thread compares at a time."""

COMPARERS = 4
"""Threads that compare one large file."""

_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def same_content(one: int, other: int, size: int, progress: Progress) -> bool:
    """Whether two open files hold the same ``size`` bytes and no more."""
    if size >= DIRECT_SIZE:
        return _same_size(one, other, size) and _same_pieces(one, other, size, progress)
    offset = 0
    while offset <= size:
        count = min(COMPARED_CHUNK, size + 1 - offset)
        part = os.pread(one, count, offset)
        if part != os.pread(other, count, offset):
            return False
        if not part:
            break
        offset += len(part)
        progress.advance(0, len(part))
        if offset == size and len(part) < count:
            return True  # more was asked for, so both end here
    return offset == size


def _same_size(one: int, other: int, size: int) -> bool:
    return os.fstat(one).st_size == os.fstat(other).st_size == size


def _same_pieces(one: int, other: int, size: int, progress: Progress) -> bool:
    readers = PieceReader(one, size), PieceReader(other, size)
    comparison = _Comparison(readers, size)
    try:
        with ThreadPoolExecutor(COMPARERS, thread_name_prefix="compare") as pool:
            runs = [pool.submit(comparison.run) for _ in range(COMPARERS)]
            same = 0
            try:
                while same < size and (found := comparison.found.get()):
                    progress.advance(0, found)
                    same += found
            finally:
                comparison.end()
            for run in runs:
                run.result()
            return same == size
    finally:
        for reader in readers:
            reader.close()


class _Comparison:
    """Compares two files of ``size`` bytes; several threads :meth:`run` it.

    ``found`` receives the size of each piece that is the same, and 0 from a thread that has found
    a difference or has failed.
    """

    def __init__(self, files: tuple[PieceReader, PieceReader], size: int) -> None:
        self.found: SimpleQueue[int] = SimpleQueue()
        self._files = files
        self._size = size
        self._next = 0
        self._turn = threading.Lock()

    def end(self) -> None:
        """Let no thread begin another piece."""
        with self._turn:
            self._next = self._size

    def run(self) -> None:
        """Compare pieces that no other thread compares, until one differs."""
        buffers = mmap.mmap(-1, PIECE), mmap.mmap(-1, PIECE)
        views = [memoryview(buffer) for buffer in buffers]
        memory = [ctypes.addressof(ctypes.c_char.from_buffer(buffer)) for buffer in buffers]
        while (offset := self._take()) < self._size:
            same = 0
            try:
                counts = [f.read(v, offset) for f, v in zip(self._files, views, strict=True)]
                expected = min(PIECE, self._size - offset)
                # Python's own comparison would keep all other threads waiting.
                if counts == [expected] * 2 and _libc.memcmp(*memory, expected) == 0:
                    same = expected
            finally:
                self.found.put(same)
            if not same:
                return

    def _take(self) -> int:
        with self._turn:
            offset = self._next
            self._next = min(self._size, offset + PIECE)
            return offset
