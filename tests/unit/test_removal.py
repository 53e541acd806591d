"""Directories go, even if somebody still writes into them for a moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gobbler.fs import removal
from gobbler.fs.open import DIRECTORY, closing
from gobbler.fs.removal import is_older, remove, remove_tree


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For deep trees."""
    return removed_by_us


def write_before_it_goes(monkeypatch: pytest.MonkeyPatch, directory: Path, times: int) -> None:
    """The first ``times`` times that ``directory`` is about to be removed, a new file is in it."""
    real = os.rmdir
    written = 0

    def rmdir(path: str, *, dir_fd: int | None = None) -> None:
        nonlocal written
        if os.path.basename(path) == directory.name and written < times:
            written += 1
            (directory / f"late{written}").write_bytes(b"x")
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)


def made(top: Path) -> Path:
    (top / "apart/run").mkdir(parents=True)
    (top / "apart/run/0").write_bytes(b"x")
    return top / "apart"


def test_what_is_added_meanwhile_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made(tmp_path)
    write_before_it_goes(monkeypatch, directory / "run", 2)
    remove_tree(str(directory))
    assert not directory.exists()


def test_it_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made(tmp_path)
    write_before_it_goes(monkeypatch, directory / "run", removal._REMOVE_ROUNDS)
    with pytest.raises(OSError, match="not empty"):
        remove_tree(str(directory))


def test_other_errors_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made(tmp_path)
    (directory / "run/1").write_bytes(b"x")
    real, tries = os.unlink, []

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        tries.append(path)
        if path == "0":
            raise PermissionError(13, "no", path)
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(PermissionError):
        remove_tree(str(directory))
    assert sorted(tries) == ["0", "1"]
    assert os.listdir(directory / "run") == ["0"]


DEEP = 20_000
"""Levels: the path is longer than any call takes, and the limit of recursion is far below."""


def deep_tree(top: Path, levels: int = DEEP) -> None:
    """Make ``top/d/d/d...`` with a file at its end."""
    top.mkdir()
    current = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=current)
        deeper = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=current))
    os.close(current)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_depth_of_a_tree_does_not_matter(tmp_path: Path) -> None:
    deep_tree(tmp_path / "deep")
    directory, before = os.open(tmp_path, os.O_RDONLY), open_files()
    try:
        now = time.time()
        assert not is_older(directory, "deep", now - 3600)
        assert is_older(directory, "deep", now + 3600)
        assert remove(directory, "deep")
        assert open_files() == before
    finally:
        os.close(directory)
    assert not (tmp_path / "deep").exists()


def test_a_deep_tree_of_the_service_goes_too(tmp_path: Path) -> None:
    deep_tree(tmp_path / "deep")
    remove_tree(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "deep")


def test_a_link_in_the_way_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    directory = made(tmp_path)
    (directory / "run/link").symlink_to(tmp_path / "outside")
    remove_tree(directory)
    assert (tmp_path / "outside/kept").exists()


def test_a_directory_that_is_moved_away_meanwhile_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine/in/it").mkdir(parents=True)
    (tmp_path / "other/kept").mkdir(parents=True)
    real = os.open

    def opened(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == ".." and (tmp_path / "mine/in").exists():
            (tmp_path / "mine/in").rename(tmp_path / "other/in")
        return real(path, flags, mode, dir_fd=dir_fd)

    directory = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "open", opened)
    assert not remove(directory, "mine")
    os.close(directory)
    assert (tmp_path / "other/kept").exists()


def test_a_slow_removal_counts_each_entry_and_removes_what_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = made(tmp_path)
    write_before_it_goes(monkeypatch, directory / "run", 2)
    steps: list[int] = []
    with closing(os.open(tmp_path, DIRECTORY)) as top:
        assert removal.remove_slowly(top, directory.name, lambda: steps.append(1)) is None
    assert not directory.exists()
    assert len(steps) >= 4, "a directory, a file, and the two that were added"
