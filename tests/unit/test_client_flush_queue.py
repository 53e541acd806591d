"""Files that are flushed, and then named, while others are still being fetched."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gobbler.client.cache import directory
from gobbler.client.cache.directory import FLUSHED_FILES, FlushQueue
from gobbler.client.cache.objects import Objects
from gobbler.model.records import Entry


class Disk:
    """Knows which files were there when a flush began that has ended."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._top = top
        self.flushed: set[str] = set()
        self.flushes = 0
        self.error: OSError | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        monkeypatch.setattr(directory, "flush_filesystem", self._flush)
        monkeypatch.setattr(Objects, "add", lambda _, files: self._add(files))
        self.named: list[str] = []

    def _flush(self, path: str, durability: object) -> None:
        assert path == str(self._top)
        there = set(os.listdir(path))
        self.goes_on.wait()
        if self.error is not None:
            raise self.error
        self.flushes += 1
        self.flushed |= there

    def _add(self, files: list[tuple[str, Entry]]) -> None:
        for path, entry in files:
            name = os.path.basename(path)
            assert name in self.flushed, "it was named before it was on disk"
            assert entry.size == len(name)
            self.named.append(name)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    made.mkdir()
    return made


@pytest.fixture
def disk(top: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(top, monkeypatch)


def write(settles: FlushQueue, top: Path, numbers: range) -> list[str]:
    names = [f"file-{number}" for number in numbers]
    for name in names:
        (top / name).write_text(name)
        md5sum = hashlib.md5(name.encode()).hexdigest()
        settles.add(str(top / name), Entry(len(name), md5sum))
    return names


@pytest.mark.parametrize("count", [0, 1, FLUSHED_FILES - 1, FLUSHED_FILES, 4 * FLUSHED_FILES + 7])
def test_all_are_on_disk_and_named_in_the_end(top: Path, disk: Disk, count: int) -> None:
    with FlushQueue(str(top), Objects(top), lambda: None) as settles:
        names = write(settles, top, range(count))
        settles.finish()
    assert sorted(disk.named) == sorted(names)
    assert disk.flushes >= 1, "directories are to be flushed, too"


def test_a_slow_flush_delays_nobody(top: Path, disk: Disk) -> None:
    disk.goes_on.clear()
    with FlushQueue(str(top), Objects(top), lambda: None) as settles:
        names = write(settles, top, range(5 * FLUSHED_FILES))
        assert disk.named == []
        disk.goes_on.set()
        settles.finish()
    assert sorted(disk.named) == sorted(names)
    assert disk.flushes == 2


def test_a_flush_that_fails_is_reported(top: Path, disk: Disk) -> None:
    disk.error = OSError(errno.EIO, "Input/output error")
    with FlushQueue(str(top), Objects(top), lambda: None) as settles:
        write(settles, top, range(FLUSHED_FILES))
        with pytest.raises(OSError, match="Input/output error"):
            settles.finish()
    assert disk.named == []


def test_nothing_is_under_way_after_an_error(top: Path, disk: Disk) -> None:
    with suppress(ZeroDivisionError), FlushQueue(str(top), Objects(top), lambda: None) as settles:
        write(settles, top, range(FLUSHED_FILES))
        raise ZeroDivisionError
    assert disk.flushes == 1
    assert len(disk.named) == FLUSHED_FILES, "which is as good for the next attempt"
