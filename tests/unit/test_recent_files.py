"""Small files that are kept for a moment: never longer than they are what they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.fs.open import closing, open_directory
from gobbler.service import recent_files
from gobbler.service.recent_files import BUDGET, LARGEST, MOST, RecentFiles


class Clock:
    """Stands for the module ``time``; its wall clock is far ahead, so all files are settled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall = 1e11

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(recent_files, "time", made)
    return made


@pytest.fixture
def recent(tmp_path: Path, clock: Clock) -> Iterator[RecentFiles]:
    with closing(open_directory(str(tmp_path))) as directory:
        yield RecentFiles(directory)


def keep(recent: RecentFiles, file: Path, name: str | None = None) -> None:
    recent.keep(name or file.name, os.stat(file), file.read_bytes())


def content(recent: RecentFiles, path: str) -> bytes | None:
    found = recent.get(path)
    return None if found is None else found[1]


def test_a_file_is_known_for_a_moment(recent: RecentFiles, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "f").write_bytes(b"content")
    assert content(recent, "f") is None
    keep(recent, tmp_path / "f")
    assert content(recent, "f") == b"content"
    clock.now += recent_files.VALID_FOR
    assert content(recent, "f") is None
    clock.now -= recent_files.VALID_FOR
    assert content(recent, "f") is None, "it is forgotten"


@pytest.mark.parametrize("change", ["write", "replace", "remove", "link", "touch back"])
def test_a_file_that_has_changed_is_not(recent: RecentFiles, tmp_path: Path, change: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"content")
    before = os.stat(file)
    os.utime(file, ns=(1, 1))
    keep(recent, file)
    if change in ("write", "touch back"):
        while os.stat(file).st_ctime_ns == before.st_ctime_ns or file.read_bytes() == b"content":
            file.write_bytes(b"another")  # until the clock of the filesystem has ticked
    if change == "touch back":
        os.utime(file, ns=(1, 1))
    if change == "replace":
        (tmp_path / "g").write_bytes(b"another")
        (tmp_path / "g").rename(file)
    if change in ("remove", "link"):
        file.rename(tmp_path / "elsewhere")
    if change == "link":
        file.symlink_to("elsewhere")
    assert content(recent, "f") is None


def test_a_file_that_was_changed_just_now_is_not_kept(
    recent: RecentFiles, tmp_path: Path, clock: Clock
) -> None:
    """Another change may follow that has the same time."""
    (tmp_path / "f").write_bytes(b"content")
    clock.wall = os.stat(tmp_path / "f").st_ctime + recent_files.SETTLED_AFTER / 2
    keep(recent, tmp_path / "f")
    assert content(recent, "f") is None


def test_all_that_is_kept_is_bounded(recent: RecentFiles, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    keep(recent, tmp_path / "large")
    assert content(recent, "large") is None
    (tmp_path / "f").write_bytes(b"x" * LARGEST)
    for number in range(2 * BUDGET // LARGEST):
        os.link(tmp_path / "f", tmp_path / str(number))
    for number in range(2 * BUDGET // LARGEST):
        keep(recent, tmp_path / "f", str(number))
        keep(recent, tmp_path / "f", str(number))  # the same again takes no more
        assert recent._size <= BUDGET
    assert recent._size == BUDGET
    assert content(recent, "0") is None
    (tmp_path / "empty").write_bytes(b"")
    for number in range(MOST + 10):
        keep(recent, tmp_path / "empty", f"e{number}")
    assert len(recent._kept) == MOST
