"""The time by which a filesystem stamps its files."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gobbler.fs import clock
from gobbler.fs.clock import FilesystemClock


@pytest.fixture
def skew(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how many seconds the filesystem's clock is ahead of the host's."""
    ahead = [0.0]

    class Skewed:
        """The module ``os`` but for the time of change of an open file."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fstat(self, descriptor: int) -> SimpleNamespace:
            return SimpleNamespace(st_mtime=os.fstat(descriptor).st_mtime + ahead[0])

    monkeypatch.setattr(clock, "os", Skewed())
    return ahead


def test_on_one_host_it_is_the_hosts_clock(tmp_path: Path) -> None:
    assert abs(FilesystemClock(str(tmp_path)).now() - time.time()) < 5


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_the_difference_between_the_clocks_is_measured(
    tmp_path: Path, skew: list[float], ahead: float
) -> None:
    skew[0] = ahead
    assert abs(FilesystemClock(str(tmp_path)).now() - time.time() - ahead) < 5


def test_nothing_is_left_of_the_measurement(tmp_path: Path) -> None:
    FilesystemClock(str(tmp_path)).now()
    assert os.listdir(tmp_path) == []


def test_it_is_measured_now_and_then_only(
    tmp_path: Path, skew: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FilesystemClock(str(tmp_path))
    found.now()
    skew[0] = 1000.0
    assert found.now() - time.time() < 500, "it is not measured each time"
    start = time.monotonic()
    monkeypatch.setattr(clock.time, "monotonic", lambda: start + clock.MEASURE_EVERY + 1)
    assert found.now() - time.time() > 500, "but again after a while"


@pytest.mark.parametrize("function", ["write", "fstat"])
def test_a_failure_reports_the_path_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="error") as caught:
        FilesystemClock(str(tmp_path)).now()
    assert str(caught.value.filename).startswith(f"{tmp_path}/clock-")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_a_file_that_can_not_be_removed_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(os, "unlink", fail)
    assert abs(FilesystemClock(str(tmp_path)).now() - time.time()) < 5
