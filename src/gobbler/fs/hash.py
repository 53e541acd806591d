"""Hash, copy and compare open files.

MD5 is the checksum of the protocol: it identifies content, and no secret depends on it.

Every byte of a source is read once. ``progress`` advances with each chunk that is read; an error
that it raises, such as :class:`~gobbler.errors.Cancelled`, ends the work and reaches the caller.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from gobbler.fs import flush
from gobbler.fs.atomic_write import write_all
from gobbler.fs.open import read_all
from gobbler.fs.sparse import HOLES_FROM, copy_parts, may_have_holes
from gobbler.model.progress import Progress

FICLONE = 0x40049409
"""``ioctl`` that lets two files share their blocks; see ``ioctl_ficlone(2)``."""

CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time. A copy has two chunks in memory."""

SMALL_CHUNK = 64 * 1024
"""Bytes to read at a time of a smaller file, in case it has grown."""

COMPARED_CHUNK = 256 * 1024
"""Bytes that are compared at a time."""

UNWRITTEN = 16 * CHUNK
"""Bytes of a large file that may wait to be written at a time."""

DIRECT_SIZE = 64 * 1024 * 1024
"""Bytes from which a file that is written out bypasses the page cache.

A direct write of one chunk runs while the next chunk is hashed. Many files of a few chunks would
wait for their writes instead.
"""


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
    size = 0
    digest = Md5()
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
        os.lseek(source, begun.size, os.SEEK_SET)
        os.lseek(target, begun.size, os.SEEK_SET)
    elif expected < CHUNK:
        data = os.read(source, expected + 1)
        if len(data) < expected:
            data += read_all(source, expected - len(data))
        if len(data) <= expected:
            write_all(target, data)
            progress.advance(0, len(data))
            return len(data), md5_of(data)
        os.lseek(source, 0, os.SEEK_SET)  # the file has grown
    begun = begun or Begun(0, Md5())
    if write_out:
        write = _writer_to_disk(target, direct=expected >= DIRECT_SIZE)
    else:
        write = lambda part, _: write_all(target, part)  # noqa: E731
    return _read_and_write(source, write, progress, begun, written)


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


def same_content(one: int, other: int, size: int, progress: Progress) -> bool:
    """Whether two open files hold the same ``size`` bytes and no more."""
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


def _read_and_write(
    source: int,
    write: Callable[[memoryview, int], None],
    progress: Progress,
    begun: Begun,
    written: Written | None,
) -> tuple[int, str]:
    """Read the open file ``source`` to its end; its size and its MD5.

    ``write`` receives each chunk and its offset in another thread, while the next chunk is read
    and hashed: neither holds the interpreter's lock.
    """
    size, digest = begun
    # Mapped memory begins at a page, as direct writes require.
    buffers = (mmap.mmap(-1, CHUNK), mmap.mmap(-1, CHUNK))
    turn = 0
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        while True:
            view = memoryview(buffers[turn])
            count = os.readv(source, [view])
            if writing is not None:
                writing.result()
                if written is not None:
                    written(size)
            if count == 0:
                return size, digest.hexdigest()
            part = view[:count]
            writing = writer.submit(write, part, size)
            digest.update(part)
            size += count
            turn = 1 - turn
            progress.advance(0, count)


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


ALIGNMENT = 4096
"""Bytes; offsets and lengths must be multiples of it. No disk has larger blocks."""


class DirectFile:
    """Appends to an open file ``descriptor`` on the disk, and not in the page cache.

    Copying into the page cache can take longer than hashing the same bytes, and it evicts what
    others read. ``O_DIRECT`` (see ``open(2)``) avoids both. It requires offsets, lengths and
    buffers that are multiples of a block; other writes go through the page cache. So do all writes
    unless the disk is a block device of this host: over a network, each of many small writes would
    wait for the server.
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
