"""Reading and writing the disk itself, or through the page cache where that can't be."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.fs import direct_io
from gobbler.fs.direct_io import ALIGNMENT, DirectFile, PieceReader, pieces_of


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
        direct_io.os, "write", lambda fd, part: real(fd, part[: next(short, len(part))])
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

    monkeypatch.setattr(direct_io.os, "write", refusing)
    written = write(file, ALIGNMENT, ALIGNMENT)
    assert (tmp_path / "file").read_bytes() == written
    assert not file.is_direct


def test_an_error_is_reported(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = DirectFile(descriptor)

    def full(fd: int, part: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(direct_io.os, "write", full)
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


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, bytes]]:
    """A file that is large enough, on the disk and not in the page cache; and its content."""
    monkeypatch.setattr(direct_io, "DIRECT_SIZE", ALIGNMENT)
    data = os.urandom(6 * ALIGNMENT + 5)
    with (tmp_path / "large").open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    opened = os.open(tmp_path / "large", os.O_RDONLY)
    yield opened, data
    os.close(opened)


def all_of(descriptor: int, size: int, start: int = 0) -> bytes:
    with pieces_of(descriptor, size, 2 * ALIGNMENT, start=start) as pieces:
        return b"".join(map(bytes, pieces))


@pytest.mark.parametrize("start", [0, ALIGNMENT, 7, 6 * ALIGNMENT + 5, 9 * ALIGNMENT])
def test_all_of_a_file_is_read_from_anywhere(large: tuple[int, bytes], start: int) -> None:
    descriptor, data = large
    assert all_of(descriptor, len(data), start) == data[start:]


def test_what_is_not_in_the_page_cache_is_read_past_it(
    large: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, data = large
    real = os.preadv
    direct: list[bool] = []

    def preadv(file: int, buffers: list[memoryview], offset: int) -> int:
        direct.append(is_direct(file))
        return real(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    reader = PieceReader(descriptor, len(data))
    if not reader.is_direct:
        pytest.skip("the filesystem of temporary files can't be read directly")
    reader.close()
    for cached in (False, True):
        monkeypatch.setattr(direct_io, "_is_cached", lambda *_, cached=cached: cached)
        direct.clear()
        assert all_of(descriptor, len(data)) == data
        assert any(direct) == (not cached)


def test_a_filesystem_that_is_not_read_directly_is_read_otherwise(
    large: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, data = large
    real = os.preadv

    def refusing(file: int, buffers: list[memoryview], offset: int) -> int:
        if is_direct(file):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", refusing)
    monkeypatch.setattr(direct_io, "_is_cached", lambda *_: False)
    assert all_of(descriptor, len(data)) == data


def test_pages_in_the_cache_are_seen(large: tuple[int, bytes], tmp_path: Path) -> None:
    descriptor, data = large
    os.pread(descriptor, len(data), 0)
    assert direct_io._is_cached(descriptor, 0, 4 * ALIGNMENT)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if os.major(os.fstat(descriptor).st_dev):
        assert not direct_io._is_cached(descriptor, 0, 4 * ALIGNMENT)
