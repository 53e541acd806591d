"""Copying, hashing and comparing open files."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Cancelled
from gobbler.fs import hash as hashing
from gobbler.fs.comparison import same_content
from gobbler.fs.direct_io import DirectFile
from gobbler.fs.hash import copy_and_hash, hash_file
from gobbler.model.progress import NoProgress, ProgressCounter


def chunks_of(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(hashing, "CHUNK", size)


class Steps(ProgressCounter):
    """Progress that keeps the size of each step, and ends the work after ``most`` of them."""

    def __init__(self, most: int = 10**9) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._most = most

    def advance(self, files: int, size: int) -> None:
        assert files == 0, "whoever hands the file over counts it"
        self.sizes.append(size)
        if len(self.sizes) == self._most:
            raise Cancelled("enough")


NO_PROGRESS = NoProgress()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "target").open("wb") as handle:
        yield handle.fileno()


@pytest.mark.parametrize("write_out", [False, True])
@pytest.mark.parametrize("expected", [0, 5, 99, 100, 10**9])
def test_all_that_is_there_is_copied_whatever_was_expected(
    tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch, expected: int, write_out: bool
) -> None:
    chunks_of(monkeypatch, 32)
    data = os.urandom(100)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source:
        copied = copy_and_hash(source.fileno(), target, expected, NO_PROGRESS, write_out=write_out)
    assert copied == (100, md5(data))
    assert (tmp_path / "target").read_bytes() == data


def test_a_copy_can_be_given_up_at_every_chunk(
    tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_of(monkeypatch, 32)
    (tmp_path / "source").write_bytes(b"x" * 1000)
    with (tmp_path / "source").open("rb") as source, pytest.raises(Cancelled):
        copy_and_hash(source.fileno(), target, 1000, Steps(3))
    assert (tmp_path / "target").stat().st_size <= 3 * 32


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"", b"", True),
        (b"a", b"a", True),
        (b"a", b"b", False),
        (b"a", b"ab", False),
        (b"x" * 600000, b"x" * 600000, True),
        (b"x" * 600000, b"x" * 599999 + b"y", False),
    ],
)
def test_content_is_the_same_only_to_the_last_byte(
    tmp_path: Path, one: bytes, other: bytes, same: bool
) -> None:
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "other").write_bytes(other)
    with (tmp_path / "one").open("rb") as a, (tmp_path / "other").open("rb") as b:
        assert same_content(a.fileno(), b.fileno(), len(one), NO_PROGRESS) == same
        assert same_content(b.fileno(), a.fileno(), len(one), NO_PROGRESS) == same
        assert not same_content(a.fileno(), a.fileno(), len(one) + 1, NO_PROGRESS)
        assert hash_file(a.fileno(), NO_PROGRESS, 1) == (len(one), md5(one))


@pytest.mark.parametrize("size", [0, 10, 31, 32, 1000])
def test_each_byte_is_reported_while_it_is_copied_or_hashed(
    tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    chunks_of(monkeypatch, 32)
    (tmp_path / "source").write_bytes(b"x" * size)
    copied, hashed = Steps(), Steps()
    with (tmp_path / "source").open("rb") as source:
        copy_and_hash(source.fileno(), target, size, copied)
        source.seek(0)
        hash_file(source.fileno(), hashed, 1)
    assert sum(copied.sizes) == sum(hashed.sizes) == size
    assert max([*copied.sizes, *hashed.sizes, 0]) <= 32


@pytest.mark.parametrize(("write_out", "expected"), [(True, 2), (True, 1), (False, 2)])
def test_large_files_go_directly_to_the_disk_if_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_out: bool, expected: int
) -> None:
    monkeypatch.setattr(hashing, "DIRECT_SIZE", 2 * hashing.CHUNK)
    data = os.urandom(2 * hashing.CHUNK)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        if not DirectFile(target.fileno()).is_direct:
            pytest.skip("the filesystem of temporary files can't be written to directly")
        fcntl.fcntl(target.fileno(), fcntl.F_SETFL, os.O_WRONLY)
        size = expected * hashing.CHUNK
        copied = copy_and_hash(
            source.fileno(), target.fileno(), size, NO_PROGRESS, write_out=write_out
        )
        flags = fcntl.fcntl(target.fileno(), fcntl.F_GETFL)
    assert copied == (len(data), md5(data))
    assert (tmp_path / "target").read_bytes() == data
    assert bool(flags & os.O_DIRECT) == (write_out and expected == 2)
