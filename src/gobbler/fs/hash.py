"""Reading and hashing a file while what was read before is being written elsewhere.

Copying, hashing and comparing open files; every byte of a source is read once.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from gobbler.fs import flush
from gobbler.fs.atomic_write import write_all
from gobbler.fs.direct_io import DirectFile
from gobbler.fs.open import read_all
from gobbler.model.progress import Progress

CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time; two chunks are in memory at once."""


def read_in_step(
    source: int, write: Callable[[memoryview, int], None], progress: Progress
) -> tuple[int, str]:
    """Read the open file ``source`` to its end; the bytes read and their MD5.

    ``write`` is given each part and its offset, in another thread: hashing bounds the speed,
    and neither of the two holds the interpreter's lock. ``progress`` advances with each part
    that is read, and may raise to end it.
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
            progress.advance(0, count)


UNWRITTEN = 16 * CHUNK
"""Bytes of a large file that may be on their way to the disk at a time."""

DIRECT = 64 * 1024 * 1024
"""Bytes of a file from which on it is written directly, if at once: one part is hashed while
another is written, which many files of a few parts would have to wait for.
"""

SMALL = 64 * 1024
"""Bytes that are read at a time even of a file that seems to be smaller."""

COMPARED = 256 * 1024
"""Bytes that are compared at a time."""


def copy_and_hash(
    source: int,
    target: int,
    expected: int,
    progress: Progress,
    *,
    write_out: bool = False,
) -> tuple[int, str]:
    """Copy one open file into another, empty one; the bytes copied and their MD5.

    ``expected`` is the size in bytes that the source seemed to have; all that is there
    is copied. ``progress`` advances with each part, and may raise to end it. ``write_out``:
    data goes to the disk as it comes, rather than all of it with the next flush.
    """
    if expected < CHUNK:
        data = read_all(source, expected)
        if len(data) <= expected:
            write_all(target, data)
            progress.advance(0, len(data))
            return len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()
        os.lseek(source, 0, os.SEEK_SET)  # it grew
    if not write_out:
        return read_in_step(source, lambda part, _: write_all(target, part), progress)
    return _copy_to_disk(source, target, progress, direct=expected >= DIRECT)


def _copy_to_disk(source: int, target: int, progress: Progress, *, direct: bool) -> tuple[int, str]:
    file = DirectFile(target) if direct else None

    def write(part: memoryview, offset: int) -> None:
        if file is not None:
            file.write(part, offset)
        else:
            write_all(target, part)
        if file is None or not file.is_direct:
            flush.write_out(target, offset, len(part), wait=False)
            if offset >= UNWRITTEN:
                flush.write_out(target, offset - UNWRITTEN, CHUNK, wait=True)

    return read_in_step(source, write, progress)


def hash_file(source: int, progress: Progress, expected: int) -> tuple[int, str]:
    """The size in bytes and the MD5 of an open file, which seemed to have ``expected`` bytes."""
    digest = hashlib.md5(usedforsecurity=False)
    # Memory for a chunk comes from the kernel and goes back to it, which all threads wait for.
    view = memoryview(bytearray(min(CHUNK, max(expected, SMALL))))
    size = 0
    while count := os.readv(source, [view]):
        digest.update(view[:count])
        size += count
        progress.advance(0, count)
    return size, digest.hexdigest()


def same_content(one: int, other: int, size: int, progress: Progress) -> bool:
    """Whether two open files hold the same ``size`` bytes and no more."""
    offset = 0
    while offset <= size:
        count = min(COMPARED, size + 1 - offset)
        part = os.pread(one, count, offset)
        if part != os.pread(other, count, offset):
            return False
        if not part:
            break
        offset += len(part)
        progress.advance(0, len(part))
    return offset == size
