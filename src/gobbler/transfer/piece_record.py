"""Records of pieces: how far the copy of a large file has come, for the next attempt.

::

    ..incoming/{attempt}/
        {random}.pieces             a line about the copy, then one for each piece written
        {random}.partial            a copy that an earlier attempt has begun, and
        {random}.partial.pieces     its record, until a batch continues it

Each line has the MD5 of all bytes up to the end of its piece, and the state of its computation, if
Python can keep it. So no other checksum is needed to verify a piece, and no byte is hashed twice
while it is copied.

The writer keeps the record locked, and the record names it. Where it can still live, the copy is
not used: it has the file open, so it could go on writing, even after the publication.

Records are hints: an upload is complete without them, and never fails because of one.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec import Struct

from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, write_all
from gobbler.fs.hash import CHUNK, Digest
from gobbler.fs.lease import Holder, has_ended, this_process
from gobbler.fs.lock import try_lock
from gobbler.fs.open import closing, read_all
from gobbler.fs.sparse import allocated
from gobbler.registry.unique_name import unique_name
from gobbler.transfer.copy_state import SourceState

RECORD_SUFFIX = ".pieces"
PARTIAL_SUFFIX = ".partial"

RECORDED_BYTES = 32 * 1024 * 1024
"""Bytes from which the copy of a file is recorded."""

PIECE_BYTES = 16 * 1024 * 1024
"""Smallest size of a piece."""

MOST_PIECES = 1024
"""Number of pieces that a file has at most; the pieces of larger files are larger."""


def piece_bytes(size: int) -> int:
    """Bytes of each piece of a file of ``size`` bytes."""
    return max(PIECE_BYTES, -(-size // MOST_PIECES // CHUNK) * CHUNK)


class PieceEnd(NamedTuple):
    """The end of a piece: the size so far, its MD5, and the state of that; empty if unknown."""

    size: int
    md5sum: str
    state: str


class _Header(Struct, frozen=True):
    """``copy``: its path in the workspace when the writer began; ``path``: that in the source."""

    path: str
    copy: str
    inode: int
    source: SourceState
    writer: Holder


@dataclass(frozen=True)
class PartialCopy:
    """A copy that an earlier attempt has begun: its path, that of its record, and its inode.

    No process has it open. ``source``: the state of the source then. ``ends``: its pieces.
    """

    copy: str
    record: str
    inode: int
    source: SourceState
    ends: list[PieceEnd]

    def allocated(self) -> int:
        """Bytes that it takes on its disk."""
        try:
            return allocated(os.stat(self.copy))
        except FileNotFoundError:
            return 0


class PieceRecord:
    """The record of a copy that this process makes; it does nothing if it can't be written."""

    def __init__(self, workspace: str, size: int) -> None:
        self.path = f"{workspace}/{unique_name()}{RECORD_SUFFIX}"
        self._size = size
        self._piece = piece_bytes(size)
        self._next = 0
        self._descriptor = -1

    def begin(
        self, path: str, copy: str, inode: int, source: SourceState, ends: Sequence[PieceEnd] = ()
    ) -> None:
        """Begin with the pieces up to ``ends``, which the copy has already."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._next = (ends[-1].size if ends else 0) + self._piece
        header = _Header(path, copy, inode, source, this_process())
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *ends))
        try:
            self._descriptor = os.open(self.path, flags, PRIVATE_FILE_MODE)
            with suppress(OSError):  # a filesystem without locks
                try_lock(self._descriptor, fcntl.LOCK_EX)
            write_all(self._descriptor, lines)
        except OSError:
            self.remove()

    def written(self, size: int, digest: Digest) -> None:
        """Note that ``size`` bytes are written; ``digest`` has seen them."""
        if self._descriptor < 0 or (size < self._next and size != self._size):
            return
        self._next = size + self._piece
        end = PieceEnd(size, digest.hexdigest(), digest.kept())
        try:
            write_all(self._descriptor, msgspec.json.encode(end) + b"\n")
        except OSError:
            self.remove()

    def close(self) -> None:
        """Leave the record for whoever continues the copy."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove the record: nobody can continue the copy."""
        self.close()
        with suppress(OSError):
            os.unlink(self.path)


def partial_copies(
    workspace: str, formers: Sequence[str], files: Mapping[str, int]
) -> dict[str, PartialCopy]:
    """Take the copies that were begun in the workspaces ``formers`` and may be continued.

    For each of ``files`` (sizes by path), the one that has come farthest. Moves them into
    ``workspace``, where no earlier attempt can find them.
    """
    taken: dict[str, PartialCopy] = {}
    begun = [found for former in formers for found in _begun(former)]
    # One record may be of a copy that an interrupted attempt was about to move.
    for record, header, ends in sorted(begun, key=lambda found: -found[2][-1].size):
        size = header.source.fingerprint.size
        if header.path in taken or files.get(header.path) != size or ends[-1].size > size:
            continue
        copy = _take(workspace, formers, record, header)
        if copy is not None:
            taken[header.path] = PartialCopy(
                copy, copy + RECORD_SUFFIX, header.inode, header.source, ends
            )
    return taken


def _begun(former: str) -> Iterator[tuple[str, _Header, list[PieceEnd]]]:
    """The records in a workspace whose writers are known to have ended: path, and content."""
    for name in os.listdir(former):
        if name.endswith(RECORD_SUFFIX):
            read = _read(f"{former}/{name}")
            if read is not None and read[1]:
                yield f"{former}/{name}", *read


def _read(path: str) -> tuple[_Header, list[PieceEnd]] | None:
    """The record at ``path``, if its writer is known to have ended."""
    try:
        with closing(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)) as opened:
            first, *rest = read_all(opened, os.fstat(opened).st_size).split(b"\n")
            header = msgspec.json.decode(first, type=_Header)
            if not has_ended(opened, header.writer):
                return None
    except (OSError, msgspec.DecodeError):
        return None
    ends: list[PieceEnd] = []
    for line in rest:
        try:
            end = msgspec.json.decode(line, type=PieceEnd)
        except msgspec.DecodeError:  # the last line may be incomplete
            break
        if end.size <= (ends[-1].size if ends else 0):
            break
        ends.append(end)
    return header, ends


def _take(workspace: str, formers: Sequence[str], record: str, header: _Header) -> str | None:
    """Move a copy, then its record; the path of the copy, or ``None`` if it is gone."""
    former, _, name = record.rpartition("/")
    identity = name.partition(".")[0]
    target = f"{workspace}/{identity}{PARTIAL_SUFFIX}"
    places = [f"{each}/{identity}{PARTIAL_SUFFIX}" for each in formers]
    # A copy that was taken before is nowhere else: whoever continues it has a record of its own.
    if not name.endswith(PARTIAL_SUFFIX + RECORD_SUFFIX):
        places += [f"{former}/{header.copy}", f"{former}/tree/{header.path}"]
    for place in places:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(place)
            if status.st_ino == header.inode and stat.S_ISREG(status.st_mode):
                os.rename(place, target)
                os.rename(record, target + RECORD_SUFFIX)
                return target
    return None


def remove_partial(copy: PartialCopy) -> None:
    """Remove a copy that nobody continues any more, with its record."""
    for path in (copy.copy, copy.record):
        with suppress(FileNotFoundError):
            os.unlink(path)
