"""Directories go, even if somebody still writes into them for a moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gobbler.fs import removal
from gobbler.fs.removal import remove_tree


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
    tries = 0

    def rmtree(path: str, **more: Any) -> None:
        nonlocal tries
        tries += 1
        raise PermissionError(13, "no", path)

    monkeypatch.setattr(removal.shutil, "rmtree", rmtree)
    with pytest.raises(PermissionError):
        remove_tree(str(directory))
    assert tries == 1
