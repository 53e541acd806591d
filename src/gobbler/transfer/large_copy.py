"""Large copies: recorded piece by piece, and continued where an earlier attempt ended.

A copy that is continued keeps its inode, so nothing that was written is written again. Each of its
pieces is read once, and compared with its record, at the same time as the rest is copied. A piece
that differs, since the power was cut before it was on disk, is copied again from the source.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gobbler.fs.atomic_write import FILE_MODE, remove_quietly
from gobbler.fs.hash import Begun, copy_and_hash
from gobbler.fs.open import closing
from gobbler.model.progress import Progress
from gobbler.transfer.copy_state import CopyState, SourceState
from gobbler.transfer.piece_record import PartialCopy, PieceEnd, PieceRecord
from gobbler.transfer.verifier import Piece, Unusable, Verifier, digest_at, new_digest


class CopyMade(NamedTuple):
    """The size in bytes and the MD5 of a copy, and its state for the next attempt."""

    size: int
    md5sum: str
    state: CopyState | None


@dataclass(frozen=True)
class LargeCopy:
    """A copy to make in ``workspace``: of the open file ``source``, whose path is ``path``.

    ``place`` is the path of the copy in the workspace, which is ``name`` in an open directory.
    """

    workspace: str
    path: str
    place: str
    directory: int
    name: str
    source: int
    state: SourceState
    write_out: bool

    def make(self, target: int, progress: Progress) -> CopyMade:
        """Copy all into the open, empty file ``target``."""
        record = PieceRecord(self.workspace, self._size)
        record.begin(self.path, self.place, os.fstat(target).st_ino, self.state)
        try:
            return self._copy(target, Begun(0, new_digest()), record, progress)
        finally:
            record.close()

    def go_on(self, partial: PartialCopy, progress: Progress) -> CopyMade:
        """Continue ``partial``, from the same state of the source.

        Raises :class:`Unusable`; then nothing stands in the place of the copy.
        """
        record = PieceRecord(self.workspace, self._size)
        record.begin(self.path, self.place, partial.inode, self.state, partial.ends)
        try:
            os.rename(partial.copy, self.name, dst_dir_fd=self.directory)
            remove_quietly(partial.record)
            with closing(self._open()) as target:
                os.fchmod(target, FILE_MODE)
                return self._go_on(target, partial.ends, record, progress)
        except (OSError, Unusable) as error:
            # Of another account, on a damaged disk, or moved by another run of the batch.
            record.remove()
            with suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.directory)
            raise Unusable from error
        finally:
            record.close()

    def _go_on(
        self,
        target: int,
        ends: Sequence[PieceEnd],
        record: PieceRecord,
        progress: Progress,
    ) -> CopyMade:
        # Cuts off what no piece covers. What the file lacks up to there reads as zeros.
        os.ftruncate(target, ends[-1].size)
        pieces = [Piece(*pair) for pair in pairwise([PieceEnd(0, "", ""), *ends])]
        last = digest_at(ends[-1])
        verifier = Verifier(self.source, self._open)
        if last is None or not all(digest_at(piece.begin) for piece in pieces):
            last = verifier.verify_in_turn(pieces, progress)
            return self._copy(target, Begun(ends[-1].size, last), record, progress)
        with verifier.verifying(pieces, progress) as watched:
            return self._copy(target, Begun(ends[-1].size, last), record, watched)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.name, flags, dir_fd=self.directory)

    def _copy(self, target: int, begun: Begun, record: PieceRecord, progress: Progress) -> CopyMade:
        size, md5sum = copy_and_hash(
            self.source,
            target,
            self._size,
            progress,
            write_out=self.write_out,
            begun=begun,
            written=lambda size: record.written(size, begun.digest),
        )
        return CopyMade(size, md5sum, CopyState.of(target, self.state, record.path))

    @property
    def _size(self) -> int:
        return self.state.fingerprint.size
