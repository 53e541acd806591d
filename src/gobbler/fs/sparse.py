"""Sparse files: their holes read as zeros, and take no space. Copies keep them.

A file of 8 TiB that holds a few bytes must not fill the disk of everybody. So a copy skips the
holes of its source, and a writer who gets zeros from elsewhere skips these. The content is the
same, byte for byte: sizes and checksums count the zeros.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gobbler.fs.atomic_write import write_all
from gobbler.model.progress import Progress

BLOCK = 512
"""Bytes of a block in ``st_blocks``."""

HOLES_FROM = 64 * 1024
"""Bytes from which a file is searched for holes; smaller ones waste little."""

PART = 4 * 1024 * 1024
"""Largest part that is copied or skipped at a time."""

ZEROS = bytes(PART)


def allocated(status: os.stat_result) -> int:
    """Bytes that a regular file takes on its disk, and at least those that a copy takes."""
    return min(status.st_size, status.st_blocks * BLOCK)


def may_have_holes(status: os.stat_result) -> bool:
    """Whether to search a file for holes. Compressed files take less than their size, too."""
    return status.st_size >= HOLES_FROM and status.st_blocks * BLOCK < status.st_size


class Part(NamedTuple):
    """``size`` bytes of a file from ``offset``, of at most :data:`PART`."""

    offset: int
    size: int
    is_hole: bool


def parts_of(descriptor: int, start: int = 0) -> Iterator[Part]:
    """The parts of an open file in order, up to its present end. Moves its position."""
    end = os.fstat(descriptor).st_size
    offset = start
    while offset < end:
        data = min(end, _seek(descriptor, offset, os.SEEK_DATA, end))
        yield from _cut(offset, data, is_hole=True)
        hole = min(end, _seek(descriptor, data, os.SEEK_HOLE, end)) if data < end else end
        yield from _cut(data, hole, is_hole=False)
        offset = hole


def _seek(descriptor: int, offset: int, whence: int, end: int) -> int:
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data follows
            return end
        if error.errno == errno.EINVAL:  # a filesystem that knows no holes
            return offset if whence == os.SEEK_DATA else end
        raise


def _cut(start: int, end: int, *, is_hole: bool) -> Iterator[Part]:
    for offset in range(start, end, PART):
        yield Part(offset, min(PART, end - offset), is_hole)


def copy_parts(
    source: int,
    target: int,
    progress: Progress,
    see: Callable[[bytes | memoryview], None],
    wrote: Callable[[int, int], None] = lambda *_: None,
    *,
    start: int = 0,
    ended: Callable[[int], None] | None = None,
) -> int:
    """Copy an open file with its holes into another, empty one; returns its size.

    ``see`` receives every part of the content, zeros too; ``wrote`` the offset and the length of
    what was written; ``ended`` the size after each part. The first ``start`` bytes are there
    already, and no more.
    """
    zeros = memoryview(ZEROS)
    size = start
    for part in parts_of(source, start):
        if part.is_hole:
            see(zeros[: part.size])
            size = part.offset + part.size
        else:
            data = os.pread(source, part.size, part.offset)
            see(data)
            os.lseek(target, part.offset, os.SEEK_SET)
            write_all(target, data)
            wrote(part.offset, len(data))
            size = part.offset + len(data)
        progress.advance(0, part.size if part.is_hole else size - part.offset)
        if ended is not None:
            ended(size)
        if size < part.offset + part.size:
            break  # it has become shorter
    os.ftruncate(target, size)
    return size


def is_zeros(data: bytes) -> bool:
    """Whether ``data`` is worth a hole: a block or more, all zeros."""
    return len(data) >= BLOCK and ZEROS.startswith(data)


def append(descriptor: int, data: bytes, size: int) -> None:
    """Append ``data`` to an open file of ``size`` bytes; zeros become a hole.

    The descriptor must have been opened to append, or stand at the end.
    """
    if is_zeros(data):
        os.ftruncate(descriptor, size + len(data))
        os.lseek(descriptor, 0, os.SEEK_END)
    else:
        write_all(descriptor, data)
