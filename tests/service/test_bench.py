"""The bench compares services, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Place, Running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(Place(tmp_path_factory.mktemp("bench"))) as running:
        yield running


def bench(service: Running, directory: Path, *words: str) -> subprocess.Popen[str]:
    """The bench, with one service in the place of both sides."""
    place = [service.url, str(service.place.staging), str(service.place.registry)]
    sides = ["--peer", *place, "--peer", *place]
    command = [sys.executable, "-m", "bench", *sides, "--directory", str(directory), *words]
    # What a shell starts in the background ignores SIGINT, and so does all that it starts.
    command = ["env", "--default-signal=INT", *command]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def left(service: Running, directory: Path) -> list[str]:
    """What is left behind: projects, sources and requests, and directories of the bench."""
    places = service.place.registry, service.place.staging, directory
    return [entry for place in places for entry in os.listdir(place) if not entry.startswith("..")]


def test_a_table_of_two_services(service: Running, tmp_path: Path) -> None:
    cases = ["--case", "first upload, 10,000", "--case", "first answer", "--case", "refresh_usage"]
    done = bench(service, tmp_path, "--scale=0.001", "--runs=1", *cases)
    printed, errors = done.communicate(timeout=60)
    assert done.returncode == 0, errors
    assert "| case |" in printed
    assert "\n| first upload, 10,000 files of 4 KiB | " in printed
    assert "\n| refresh_usage | " in printed
    assert "\n| memory of all processes after this run | " in printed
    assert "| identify | scan | plan | ingest |" in printed
    assert "left out, for no command is known that starts" in errors
    assert left(service, tmp_path) == []


def test_one_that_is_interrupted_clears_away(service: Running, tmp_path: Path) -> None:
    words = ["--scale=0.001", "--runs=100000", "--case=refresh_latest"]
    running = bench(service, tmp_path, *words)
    assert running.stdout is not None
    while not running.stdout.readline().startswith("| case |"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert "interrupted: the other cases are left out" in errors
    assert running.returncode == 130
    assert left(service, tmp_path) == []
