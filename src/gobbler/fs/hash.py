"""Hash and copy open files.

MD5 is the checksum of the protocol: it identifies content, and no secret depends on it.

Every byte of a source is read once. ``progress`` advances with each chunk that is read; an error
that it raises, such as :class:`~gobbler.errors.Cancelled`, ends the work and reaches the caller.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from gobbler.fs import flush
from gobbler.fs.atomic_write import write_all
from gobbler.fs.direct_io import DIRECT_SIZE, DirectFile, pieces_of
from gobbler.fs.open import read_all
from gobbler.fs.sparse import HOLES_FROM, copy_parts, may_have_holes
from gobbler.model.progress import Progress

FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""

CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time. A copy has three chunks in memory."""

SMALL_CHUNK = 64 * 1024
"""Bytes to read at a time of a smaller file, in case it has grown."""

READ_AHEAD_SIZE = 4 * CHUNK
"""Bytes from which a file is read by another thread than the one that hashes it."""

UNWRITTEN = 16 * CHUNK
"""Bytes of a large file that may wait to be written at a time."""


class Digest(Protocol):
    """The MD5 of data that comes in pieces; perhaps one that can be kept meanwhile."""

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add a piece."""

    def hexdigest(self) -> str:
        """The MD5 so far, as a manifest has it: 32 hexadecimal digits."""

    def kept(self) -> str:
        """The state so far, from which to continue; empty if it can't be kept."""


class Md5:
    """The MD5 of data that comes in pieces, by the standard library."""

    def __init__(self, data: bytes = b"") -> None:
        self._digest = hashlib.md5(data, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add a piece."""
        self._digest.update(data)

    def hexdigest(self) -> str:
        """The MD5 so far, as a manifest has it: 32 hexadecimal digits."""
        return self._digest.hexdigest()

    def kept(self) -> str:
        """Empty: the standard library shows no state."""
        return ""


class Begun(NamedTuple):
    """A copy of which ``size`` bytes are there; ``digest`` has seen them, and sees the rest."""

    size: int
    digest: Digest


Written = Callable[[int], None]
"""Receives the size of a copy whenever all bytes so far are hashed and written."""


def md5_of(data: bytes) -> str:
    """The MD5 of ``data``."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def hash_file(source: int, progress: Progress, expected: int) -> tuple[int, str]:
    """Read an open file from its position to its end; the bytes read and their MD5.

    ``expected`` is the size in bytes that a ``stat`` reported; the file may have changed since.
    """
    digest = Md5()
    if expected >= READ_AHEAD_SIZE:
        size = begun = os.lseek(source, 0, os.SEEK_CUR)
        with pieces_of(source, expected, CHUNK, start=size) as pieces:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                progress.advance(0, len(piece))
        return size - begun, digest.hexdigest()
    size = 0
    if expected < SMALL_CHUNK:
        # More than that is asked for, so no second call is needed to find the end.
        data = os.read(source, expected + 1)
        progress.advance(0, len(data))
        if len(data) == expected:
            return expected, md5_of(data)
        size = len(data)
        digest.update(data)
    # A buffer goes back to the kernel after use, and all threads wait for that: keep it small.
    view = memoryview(bytearray(min(CHUNK, max(expected, SMALL_CHUNK))))
    while count := os.readv(source, [view]):
        digest.update(view[:count])
        size += count
        progress.advance(0, count)
    return size, digest.hexdigest()


def copy_and_hash(
    source: int,
    target: int,
    expected: int,
    progress: Progress,
    *,
    write_out: bool = False,
    begun: Begun | None = None,
    written: Written | None = None,
) -> tuple[int, str]:
    """Copy an open file into another, empty one; the bytes copied and their MD5.

    ``expected`` is the size in bytes that a ``stat`` reported; the whole source is copied,
    even if it has another size now. The copy keeps its holes. ``write_out`` starts to write each
    piece to disk at once, instead of all of it at the next flush. Does *not* flush.

    With ``begun``, the target holds that much already, and no more.
    """
    if expected >= HOLES_FROM and may_have_holes(os.fstat(source)):
        return _copy_sparse(source, target, progress, begun, written, to_disk=write_out)
    if begun is not None:
        os.lseek(target, begun.size, os.SEEK_SET)
    elif expected < CHUNK:
        data = os.read(source, expected + 1)
        if len(data) < expected:
            data += read_all(source, expected - len(data))
        if len(data) <= expected:
            write_all(target, data)
            progress.advance(0, len(data))
            return len(data), md5_of(data)
        # The file has grown: copy it from its beginning.
    begun = begun or Begun(0, Md5())
    if write_out:
        write = _writer_to_disk(target, direct=expected >= DIRECT_SIZE)
    else:
        write = lambda part, _: write_all(target, part)  # noqa: E731
    return _read_and_write(source, expected, write, progress, begun, written)


def _copy_sparse(
    source: int,
    target: int,
    progress: Progress,
    begun: Begun | None,
    written: Written | None,
    *,
    to_disk: bool,
) -> tuple[int, str]:
    start, digest = begun or Begun(0, Md5())

    def wrote(offset: int, count: int) -> None:
        if to_disk:
            _start_writing(target, offset, count)

    size = copy_parts(source, target, progress, digest.update, wrote, start=start, ended=written)
    return size, digest.hexdigest()


def _start_writing(target: int, offset: int, count: int) -> None:
    flush.write_out(target, offset, count, wait=False)
    if offset >= UNWRITTEN:
        flush.write_out(target, offset - UNWRITTEN, CHUNK, wait=True)


def _read_and_write(
    source: int,
    expected: int,
    write: Callable[[memoryview, int], None],
    progress: Progress,
    begun: Begun,
    written: Written | None,
) -> tuple[int, str]:
    """Read the open file ``source`` to its end; its size and its MD5.

    Another thread reads the next chunk meanwhile, and one more has ``write`` write this one, at
    its offset, while it is hashed: none of them holds the interpreter's lock.
    """
    size, digest = begun
    with (
        ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
        pieces_of(source, expected, CHUNK, start=size) as pieces,
    ):
        for part in pieces:
            writing = writer.submit(write, part, size)
            digest.update(part)
            size += len(part)
            progress.advance(0, len(part))
            writing.result()
            if written is not None:
                written(size)
    return size, digest.hexdigest()


def _writer_to_disk(target: int, *, direct: bool) -> Callable[[memoryview, int], None]:
    file = DirectFile(target) if direct else None

    def write(part: memoryview, offset: int) -> None:
        if file is not None:
            file.write(part, offset)
        else:
            write_all(target, part)
        if file is None or not file.is_direct:
            _start_writing(target, offset, len(part))

    return write
