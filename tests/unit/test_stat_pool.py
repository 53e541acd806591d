"""The stat pool: none of its threads uses a closed directory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gobbler.fs.open import closing, open_directory
from gobbler.transfer import stat_pool
from gobbler.transfer.stat_pool import Directory, StatPool


def test_an_error_of_one_thread_waits_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat_pool, "HIGH_LATENCY_SECONDS", -1.0)
    monkeypatch.setattr(stat_pool, "MEASURED_CALLS", 1)
    (tmp_path / "good").touch()
    begun, failed = threading.Event(), threading.Event()
    seen: list[object] = []

    def statuses_of(directory: Directory, names: list[str]) -> stat_pool.Statuses:
        if names == ["bad"]:
            assert begun.wait(60)
            failed.set()
            raise MemoryError
        begun.set()
        assert failed.wait(60)
        failed.clear()
        failed.wait(0.1)  # the error arrives meanwhile
        try:
            seen.append(os.stat("good", dir_fd=directory.descriptor).st_size)
        except OSError as error:
            seen.append(error)
        return {}

    monkeypatch.setattr(Directory, "statuses_of", statuses_of)
    with StatPool(2) as pool, closing(open_directory(str(tmp_path))) as descriptor:
        directory = Directory(descriptor, ["bad", "good"], set(), {})
        pool.status(directory, "good")
        with pytest.raises(MemoryError):
            pool.statuses(directory, ["bad", "good"])
    assert seen == [0]
