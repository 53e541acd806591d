"""The latency of a filesystem, measured by names that do not exist."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gobbler.cli import serve
from gobbler.cli.worker import command
from gobbler.fs import mounts
from gobbler.service import worker_process


@pytest.mark.parametrize("slow", [False, True])
def test_the_median_of_the_samples_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    moment = 0.0
    takes = iter([0.00001, 0.9, 0.00001] * 3 if not slow else [0.001, 0.00001, 0.001] * 3)

    def lstat(path: str) -> None:
        nonlocal moment
        assert os.path.dirname(path) == str(tmp_path)
        assert not os.path.exists(path)
        moment += next(takes)
        raise FileNotFoundError

    monkeypatch.setattr(mounts.os, "lstat", lstat)
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    assert mounts.has_high_latency(str(tmp_path)) is slow
    monkeypatch.undo()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "slow", "expected"),
    [
        ([], False, max(2, os.cpu_count() or 1)),
        ([], True, serve.WAITING),
        (["--dask=tcp://h:1"], False, serve.WAITING),
        (["--concurrency=3"], True, 3),
        (["--concurrency=3", "--dask=tcp://h:1"], False, 3),
    ],
)
def test_so_many_batches_run_at_a_time_unless_one_says_otherwise(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    slow: bool,
    expected: int,
) -> None:
    found = []
    monkeypatch.setattr(
        worker_process, "work", lambda settings, form, debug: found.append(settings)
    )
    monkeypatch.setattr(serve, "has_high_latency", lambda directory: slow)
    directories = [f"--staging={tmp_path}", f"--registry={tmp_path}"]
    command.main([*directories, *flags], standalone_mode=False)
    assert [settings.concurrency for settings in found] == [expected]
