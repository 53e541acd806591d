"""Reading and hashing a file while what was read before is being written elsewhere."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time; two chunks are in memory at once."""


def read_in_step(
    source: int, write: Callable[[memoryview, int], None], check: Callable[[int], None]
) -> tuple[int, str]:
    """Read the open file ``source`` to its end; the bytes read and their MD5.

    ``write`` is given each part and its offset, in another thread: hashing bounds the speed,
    and neither of the two holds the interpreter's lock. ``check`` is told of the bytes of
    each part when it is read, and may raise to give up.
    """
    digest = hashlib.md5(usedforsecurity=False)
    # Mapped, so that they begin where a page does: what is written directly must.
    buffers = (mmap.mmap(-1, CHUNK), mmap.mmap(-1, CHUNK))
    size = 0
    turn = 0
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        while True:
            view = memoryview(buffers[turn])
            count = os.readv(source, [view])
            if writing is not None:
                writing.result()
            if count == 0:
                return size, digest.hexdigest()
            part = view[:count]
            writing = writer.submit(write, part, size)
            digest.update(part)
            size += count
            turn = 1 - turn
            check(count)
