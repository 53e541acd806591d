"""Verifying the pieces of a copy that an earlier attempt has begun.

The MD5 of a file is computed from its beginning to its end. Where its state at the beginning of
each piece was kept, the pieces are verified by several threads, while another one copies the rest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import NamedTuple

from gobbler.fs import resumable_md5
from gobbler.fs.hash import Digest, Md5
from gobbler.fs.open import closing
from gobbler.model.progress import Progress
from gobbler.transfer.piece_record import PieceEnd

VERIFIERS = 4
"""Most threads that verify the pieces of one copy."""

VERIFIED_CHUNK = 1024 * 1024
"""Bytes that are verified at a time."""

CHECK_SECONDS = 0.2
"""Seconds between two checks for a cancellation."""


class Unusable(Exception):
    """The copy can't be continued: the source must be copied from its beginning."""


class Piece(NamedTuple):
    """A piece: where it begins, and where it ends."""

    begin: PieceEnd
    end: PieceEnd


def new_digest() -> Digest:
    """An MD5 whose state can be kept, if Python can do that."""
    return resumable_md5.ResumableMd5() if resumable_md5.is_available() else Md5()


def digest_at(end: PieceEnd) -> Digest | None:
    """The MD5 up to ``end``; ``None`` if its state is unknown, or not that of its checksum."""
    if not end.size:
        return new_digest()
    if not end.state or not resumable_md5.is_available():
        return None
    try:
        digest = resumable_md5.ResumableMd5(end.state)
    except ValueError:
        return None
    return digest if digest.hexdigest() == end.md5sum else None


class Verifier:
    """Verifies pieces of a copy; replaces damaged ones from the open file ``source``.

    ``open_copy`` opens the copy: the kernel reads ahead for each descriptor by itself.
    """

    def __init__(self, source: int, open_copy: Callable[[], int]) -> None:
        self._source = source
        self._open_copy = open_copy
        self._ended = threading.Event()

    def verify_in_turn(self, pieces: Sequence[Piece], progress: Progress) -> Digest:
        """Verify all ``pieces``, without any state; the MD5 up to the end.

        Raises :class:`Unusable` at a damaged piece.
        """
        digest = new_digest()
        for piece in pieces:
            with closing(self._open_copy()) as copy:
                for part in self._parts(copy, piece):
                    digest.update(part)
                    progress.advance(0, len(part))
            if digest.hexdigest() != piece.end.md5sum:
                raise Unusable
        return digest

    @contextmanager
    def verifying(self, pieces: Sequence[Piece], progress: Progress) -> Iterator[Progress]:
        """Verify all ``pieces`` until the end of the block; it reports to the :class:`Progress`.

        Raises :class:`Unusable` if a piece is damaged, and the source has another content there.
        """
        with ThreadPoolExecutor(min(VERIFIERS, len(os.sched_getaffinity(0)))) as pool:
            try:
                checks = {pool.submit(self._verify, piece): piece for piece in pieces}
                yield _Watched(progress, self._ended)
                waiting = set(checks)
                while waiting:
                    done, waiting = wait(waiting, CHECK_SECONDS, FIRST_EXCEPTION)
                    for check in done:
                        check.result()
                        progress.advance(0, checks[check].end.size - checks[check].begin.size)
                    progress.advance(0, 0)  # raises if the work was cancelled
            except BaseException:
                self._ended.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _verify(self, piece: Piece) -> None:
        try:
            with closing(self._open_copy()) as copy:
                if self._hash(copy, piece, None) == piece.end.md5sum:
                    return
                if self._hash(self._source, piece, copy) != piece.end.md5sum:
                    raise Unusable
        except BaseException:
            self._ended.set()
            raise

    def _hash(self, file: int, piece: Piece, copy: int | None) -> str:
        """The MD5 up to the end of ``piece``, as ``file`` has it; writes it to ``copy``, too."""
        digest = digest_at(piece.begin)
        if digest is None:
            raise Unusable
        offset = piece.begin.size
        for part in self._parts(file, piece):
            digest.update(part)
            if copy is not None:
                _write_at(copy, part, offset)
            offset += len(part)
        return digest.hexdigest()

    def _parts(self, file: int, piece: Piece) -> Iterator[memoryview]:
        view = memoryview(bytearray(VERIFIED_CHUNK))
        offset = piece.begin.size
        while offset < piece.end.size:
            if self._ended.is_set():
                raise Unusable
            count = os.preadv(file, [view[: piece.end.size - offset]], offset)
            if not count:
                return
            yield view[:count]
            offset += count


class _Watched:
    """The progress of a copy that ends once a piece has turned out to be damaged."""

    def __init__(self, progress: Progress, ended: threading.Event) -> None:
        self._progress = progress
        self._ended = ended

    def expect(self, files: int, size: int | None) -> None:
        self._progress.expect(files, size)

    def advance(self, files: int, size: int) -> None:
        if self._ended.is_set():
            raise Unusable
        self._progress.advance(files, size)


def _write_at(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
