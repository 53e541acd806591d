"""Comparing large files: by several threads, to the last byte."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gobbler.errors import Cancelled
from gobbler.fs import comparison
from gobbler.fs.comparison import same_content
from gobbler.fs.direct_io import PieceReader
from gobbler.model.progress import NoProgress, ProgressCounter

PIECE = 4096


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "DIRECT_SIZE", 4 * PIECE)
    monkeypatch.setattr(comparison, "PIECE", PIECE)


def same(tmp_path: Path, one: bytes, other: bytes, size: int) -> tuple[bool, int]:
    """Whether they are the same, and the bytes that were reported."""
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "other").write_bytes(other)
    progress = ProgressCounter()
    with (tmp_path / "one").open("rb") as a, (tmp_path / "other").open("rb") as b:
        found = same_content(a.fileno(), b.fileno(), size, progress)
    return found, progress.bytes


@pytest.mark.parametrize("size", [4 * PIECE, 4 * PIECE + 1, 20 * PIECE - 1, 100 * PIECE])
def test_large_files_are_the_same_only_in_every_byte(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    assert same(tmp_path, content, content, size) == (True, size)
    for at in (0, size // 2, size - 1):
        other = bytearray(content)
        other[at] ^= 1
        assert not same(tmp_path, content, bytes(other), size)[0]


@pytest.mark.parametrize("change", [-1, 1, PIECE])
def test_large_files_of_another_size_are_not_the_same(tmp_path: Path, change: int) -> None:
    size = 8 * PIECE
    content = bytes(size)
    assert not same(tmp_path, content, bytes(size + change), size)[0]
    assert not same(tmp_path, content, content, size + change)[0]


def test_a_file_that_ends_early_is_not_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may cut it off after its size was looked at."""
    monkeypatch.setattr(comparison, "_same_size", lambda *_: True)
    assert not same(tmp_path, bytes(8 * PIECE), bytes(5 * PIECE), 8 * PIECE)[0]
    assert not same(tmp_path, bytes(5 * PIECE), bytes(5 * PIECE), 8 * PIECE)[0]


def test_a_comparison_can_be_given_up(tmp_path: Path) -> None:
    class Ending(NoProgress):
        def advance(self, files: int, size: int) -> None:
            raise Cancelled("enough")

    (tmp_path / "one").write_bytes(bytes(100 * PIECE))
    with (tmp_path / "one").open("rb") as a, pytest.raises(Cancelled):
        same_content(a.fileno(), a.fileno(), 100 * PIECE, Ending())


def test_a_disk_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = PieceReader.read

    def failing(reader: PieceReader, buffer: memoryview, offset: int) -> int:
        if offset == 20 * PIECE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(reader, buffer, offset)

    monkeypatch.setattr(PieceReader, "read", failing)
    with pytest.raises(OSError, match="Input/output"):
        same(tmp_path, bytes(40 * PIECE), bytes(40 * PIECE), 40 * PIECE)
