"""Writing to the disk itself, or through the page cache where that can't be."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.fs import hash as hashing
from gobbler.fs.hash import ALIGNMENT, DirectFile


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    yield opened
    os.close(opened)


def content(size: int) -> memoryview:
    buffer = mmap.mmap(-1, max(size, 1))
    buffer.write(os.urandom(size))
    return memoryview(buffer)[:size]


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def opened_directly(descriptor: int) -> DirectFile:
    file = DirectFile(descriptor)
    if not file.is_direct:
        pytest.skip("the filesystem of temporary files can't be written to directly")
    return file


def write(file: DirectFile, *sizes: int) -> bytes:
    written = b""
    for size in sizes:
        part = content(size)
        file.write(part, len(written))
        written += bytes(part)
    return written


@pytest.mark.parametrize(
    ("sizes", "stays"),
    [
        ([ALIGNMENT], True),
        ([4 * ALIGNMENT, ALIGNMENT], True),
        ([ALIGNMENT, 100], False),
        ([100, ALIGNMENT, ALIGNMENT], False),
        ([ALIGNMENT, ALIGNMENT + 1, ALIGNMENT], False),
        ([], True),
    ],
)
def test_what_is_no_whole_block_goes_through_the_page_cache(
    descriptor: int, tmp_path: Path, sizes: list[int], stays: bool
) -> None:
    file = opened_directly(descriptor)
    written = write(file, *sizes)
    assert (tmp_path / "file").read_bytes() == written
    assert file.is_direct == is_direct(descriptor) == stays


def test_a_write_that_is_cut_short_goes_on(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened_directly(descriptor)
    real = os.write
    short = iter([ALIGNMENT, 1, 3])
    monkeypatch.setattr(
        hashing.os, "write", lambda fd, part: real(fd, part[: next(short, len(part))])
    )
    # One byte of it is no block, which only the page cache takes.
    monkeypatch.setattr(DirectFile, "_switch", lambda *_: True)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_RDWR)
    written = write(file, 4 * ALIGNMENT, ALIGNMENT)
    assert (tmp_path / "file").read_bytes() == written
    assert not file.is_direct


def test_a_filesystem_that_will_not_take_it_gets_it_otherwise(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened_directly(descriptor)
    real = os.write

    def refusing(fd: int, part: memoryview) -> int:
        if is_direct(fd):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(fd, part)

    monkeypatch.setattr(hashing.os, "write", refusing)
    written = write(file, ALIGNMENT, ALIGNMENT)
    assert (tmp_path / "file").read_bytes() == written
    assert not file.is_direct


def test_an_error_is_reported(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = DirectFile(descriptor)

    def full(fd: int, part: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hashing.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write(file, ALIGNMENT)


def test_what_is_on_no_block_device_is_not_written_directly() -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no filesystem in memory")
    descriptor = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        file = DirectFile(descriptor)
        written = write(file, ALIGNMENT, 5)
        assert os.pread(descriptor, len(written) + 1, 0) == written
        assert not file.is_direct
    finally:
        os.close(descriptor)
