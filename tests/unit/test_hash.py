"""Copying, hashing and comparing open files."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.errors import Cancelled
from gobbler.fs import hash as copying
from gobbler.fs import hash as instep
from gobbler.fs.direct_io import DirectFile
from gobbler.fs.hash import StillWanted, copy_and_hash, hash_file, same_content
from gobbler.model.progress import Meter


def chunks_of(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for module in (copying, instep):
        monkeypatch.setattr(module, "CHUNK", size)


def nothing(size: int) -> None:
    """Nobody wants it to be given up."""


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
        copied = copy_and_hash(source.fileno(), target, expected, nothing, write_out=write_out)
    assert copied == (100, md5(data))
    assert (tmp_path / "target").read_bytes() == data


def test_a_copy_can_be_given_up_at_every_chunk(
    tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_of(monkeypatch, 32)
    (tmp_path / "source").write_bytes(b"x" * 1000)
    looks = 0

    def check(size: int) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Cancelled("enough")

    with (tmp_path / "source").open("rb") as source, pytest.raises(Cancelled):
        copy_and_hash(source.fileno(), target, 1000, check)
    assert (tmp_path / "target").stat().st_size <= 3 * 32


def test_work_is_wanted_as_long_as_its_place_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHECK_EVERY", 0.0)
    (tmp_path / "job").mkdir()
    check = StillWanted(str(tmp_path / "job"), Meter())
    check(0)
    (tmp_path / "job").rmdir()
    with pytest.raises(Cancelled):
        check(0)


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
        check = nothing
        assert same_content(a.fileno(), b.fileno(), len(one), check) == same
        assert same_content(b.fileno(), a.fileno(), len(one), check) == same
        assert not same_content(a.fileno(), a.fileno(), len(one) + 1, check)
        assert hash_file(a.fileno(), check, 1) == (len(one), md5(one))


@pytest.mark.parametrize("size", [0, 10, 31, 32, 1000])
def test_each_byte_is_told_while_it_is_copied_or_hashed(
    tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    chunks_of(monkeypatch, 32)
    (tmp_path / "source").write_bytes(b"x" * size)
    copied: list[int] = []
    hashed: list[int] = []
    with (tmp_path / "source").open("rb") as source:
        copy_and_hash(source.fileno(), target, size, copied.append)
        source.seek(0)
        hash_file(source.fileno(), hashed.append, 1)
    assert sum(copied) == sum(hashed) == size
    assert max([*copied, *hashed, 0]) <= 32


@pytest.mark.parametrize(("write_out", "expected"), [(True, 2), (True, 1), (False, 2)])
def test_large_files_go_directly_to_the_disk_if_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_out: bool, expected: int
) -> None:
    monkeypatch.setattr(copying, "DIRECT", 2 * instep.CHUNK)
    data = os.urandom(2 * instep.CHUNK)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        if not DirectFile(target.fileno()).is_direct:
            pytest.skip("the filesystem of temporary files can't be written to directly")
        fcntl.fcntl(target.fileno(), fcntl.F_SETFL, os.O_WRONLY)
        size = expected * instep.CHUNK
        copied = copy_and_hash(source.fileno(), target.fileno(), size, nothing, write_out=write_out)
        flags = fcntl.fcntl(target.fileno(), fcntl.F_GETFL)
    assert copied == (len(data), md5(data))
    assert (tmp_path / "target").read_bytes() == data
    assert bool(flags & os.O_DIRECT) == (write_out and expected == 2)
