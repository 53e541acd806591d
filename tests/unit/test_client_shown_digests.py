"""What the command line has shown is remembered, if anything can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gobbler.client import shown_digests

DIGEST = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "gobbler" / "shown"


def test_the_last_one_counts_for_its_registry_and_version(state: Path) -> None:
    assert shown_digests.last("http://one", "p/a/1") is None
    shown_digests.remember("http://one", "p/a/1", DIGEST[::-1])
    shown_digests.remember("http://one", "p/a/1", DIGEST)
    assert shown_digests.last("http://one", "p/a/1") == DIGEST
    assert shown_digests.last("http://two", "p/a/1") is None
    assert shown_digests.last("http://one", "p/a/2") is None
    assert state.stat().st_mode & 0o777 == 0o700
    shown_digests.forget("http://one", "p/a/1")
    shown_digests.forget("http://one", "p/a/1")
    assert shown_digests.last("http://one", "p/a/1") is None


def test_old_ones_go(state: Path) -> None:
    shown_digests.remember("r", "p/a/1", DIGEST)
    (old,) = state.iterdir()
    os.utime(old, (1, 1))
    shown_digests.remember("r", "p/a/2", DIGEST)
    assert len(list(state.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "x" * 64, DIGEST + "0", DIGEST[:-1], "\\xff" * 64])
def test_what_is_damaged_is_not_believed(state: Path, content: str) -> None:
    shown_digests.remember("r", "p/a/1", DIGEST)
    (kept,) = state.iterdir()
    kept.write_bytes(content.encode("latin-1"))
    assert shown_digests.last("r", "p/a/1") is None


def test_without_a_directory_nothing_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    shown_digests.remember("r", "p/a/1", DIGEST)
    assert shown_digests.last("r", "p/a/1") is None
    shown_digests.forget("r", "p/a/1")
