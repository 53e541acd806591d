"""The time by which a filesystem stamps its files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gobbler.disk import clock
from gobbler.disk.clock import FilesystemClock


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
    monkeypatch.setattr(clock.time, "monotonic", lambda: start + clock.REFRESH_AFTER + 1)
    assert found.now() - time.time() > 500, "but again after a while"
