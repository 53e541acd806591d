"""Heartbeats: who touches a file, and who notices that nobody does."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from gobbler.fs import heartbeat
from gobbler.fs.heartbeat import SILENCE_SECONDS, Heartbeat, HeartbeatReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workers"


class Clock:
    """The clock of this process, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_file_that_is_missing_is_silent_and_one_that_was_touched_is_not(path: Path) -> None:
    assert HeartbeatReader(str(path)).is_silent()
    Heartbeat(str(path)).beat()
    assert not HeartbeatReader(str(path)).is_silent()
    assert not HeartbeatReader(str(path)).is_silent(since=time.time())
    assert path.stat().st_mode & 0o777 == 0o644


def test_silence_is_noticed_by_the_time_of_a_request(path: Path) -> None:
    path.touch()
    old = time.time() - 3600
    os.utime(path, (old, old))
    reader = HeartbeatReader(str(path))
    assert not reader.is_silent(since=old + SILENCE_SECONDS - 1)
    assert reader.is_silent(since=old + SILENCE_SECONDS + 1)


def test_silence_is_noticed_without_comparing_clocks(path: Path, clock: Clock) -> None:
    path.touch()
    os.utime(path, (1, 1))  # the clock of that filesystem is far behind
    reader = HeartbeatReader(str(path))
    assert not reader.is_silent()
    clock.now += SILENCE_SECONDS - 1
    assert not reader.is_silent()
    os.utime(path, (2, 2))
    clock.now += SILENCE_SECONDS - 1
    assert not reader.is_silent()
    clock.now += SILENCE_SECONDS - 1
    assert not reader.is_silent()
    clock.now += 2
    assert reader.is_silent()
    assert not pickle.loads(pickle.dumps(reader)).is_silent()  # a copy has heard nothing yet


def test_what_can_not_be_read_is_not_called_silent(path: Path) -> None:
    path.symlink_to(path.name)
    assert not HeartbeatReader(str(path)).is_silent()


def test_two_that_beat_and_one_that_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    first, second = Heartbeat(str(path)), Heartbeat(str(path))
    first.start()
    second.start()
    first.stop()
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert path.exists()
    second.stop()
    assert not path.exists()


def test_a_directory_that_vanishes_ends_no_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    place = tmp_path / "cur"
    beating = Heartbeat(str(place / "workers"))
    beating.start()
    place.mkdir()
    deadline = time.monotonic() + 20
    while not (place / "workers").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (place / "workers").exists()
    beating.stop()
    assert caplog.messages == []
