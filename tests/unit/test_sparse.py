"""Sparse files: every copy keeps their holes, and has their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gobbler.client.export import export
from gobbler.errors import Code, Fault, Refused
from gobbler.fs import space
from gobbler.fs.hash import copy_and_hash
from gobbler.fs.space import check_space
from gobbler.fs.sparse import PART, append, may_have_holes, parts_of
from gobbler.model.progress import NeverCancelled, NoProgress
from gobbler.rules.upload_plan import Scan, check_scan
from gobbler.transfer.scan import scan_source

MIB = 1 << 20

SHAPES: dict[str, list[tuple[int, bytes]]] = {
    "a hole alone": [],
    "data at the start": [(0, b"start")],
    "data at the end": [(48 * MIB - 3, b"end")],
    "data between holes": [(5 * MIB + 7, b"x" * 9000), (31 * MIB, b"y")],
    "small": [],
}


def make(path: Path, shape: str) -> bytes:
    size = 48 * MIB if shape != "small" else 200_000
    content = bytearray(size)
    with path.open("wb") as file:
        for offset, data in SHAPES[shape]:
            file.seek(offset)
            file.write(data)
            content[offset : offset + len(data)] = data
        file.truncate(size)
    if not may_have_holes(path.stat()):
        pytest.skip("this filesystem has no sparse files")
    return bytes(content)


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("write_out", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_copy_has_the_content_the_checksum_and_the_holes(
    tmp_path: Path, shape: str, write_out: bool
) -> None:
    content = make(tmp_path / "source", shape)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "copy").open("wb") as copy:
        found = copy_and_hash(
            source.fileno(), copy.fileno(), len(content), NoProgress(), write_out=write_out
        )
    assert found == (len(content), hashlib.md5(content).hexdigest())
    assert (tmp_path / "copy").read_bytes() == content
    assert blocks(tmp_path / "copy") <= blocks(tmp_path / "source") + 64 * 1024


@pytest.mark.parametrize("shape", SHAPES)
def test_an_exported_file_keeps_its_holes(tmp_path: Path, shape: str) -> None:
    content = make(tmp_path / "source", shape)
    export(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content
    assert blocks(tmp_path / "copy") <= blocks(tmp_path / "source") + 64 * 1024


def test_zeros_that_are_appended_become_a_hole(tmp_path: Path) -> None:
    pieces = [b"start" + bytes(4091), bytes(PART), bytes(PART), b"end", bytes(3)]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptor = os.open(tmp_path / "file", flags)
    size = 0
    for piece in pieces:
        append(descriptor, piece, size)
        size += len(piece)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
    assert blocks(tmp_path / "file") < MIB


def test_a_file_of_eight_tebibytes_has_few_parts_of_data(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(8 << 40)
    with (tmp_path / "huge").open("rb") as file:
        first = next(parts_of(file.fileno()))
    assert first == (0, PART, True)
    found = scan_source(str(tmp_path), ignore_dot=False, owner=None, cancel=NeverCancelled())
    assert found.files == {"huge": 8 << 40}
    assert found.space(found.files) < MIB


def test_what_does_not_fit_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "free_space", lambda _: 1000)
    check_space(str(tmp_path), 1000, "the source")
    with pytest.raises(Fault, match=r"the source needs 1001 bytes, .* 1000 bytes free") as caught:
        check_space(str(tmp_path), 1001, "the source")
    assert caught.value.code is Code.DISK_FULL
    monkeypatch.setattr(space, "free_space", lambda _: None)
    check_space(str(tmp_path), 1 << 60, "the source")


def test_files_with_holes_may_not_be_larger_than_the_disk_in_all() -> None:
    files = {"a": 600, "b": 500, "dense": 10_000}
    scan = Scan(files, {}, [], [], {}, sparse={"a": 1, "b": 2})
    check_scan(scan, capacity=1100)
    check_scan(scan)
    with pytest.raises(Refused, match=r'"a" has 600 bytes, of which 1 .* 1100 bytes in all'):
        check_scan(scan, capacity=1099)
