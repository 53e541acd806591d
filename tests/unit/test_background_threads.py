"""Background threads survive any exception, and say so."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from gobbler.cluster.dask import DaskExecutor
from gobbler.service import cleanup, health


class Ended(BaseException):
    """Ends a thread that runs for ever, as no mistake does."""


@pytest.mark.parametrize(
    ("loop", "task"),
    [
        (cleanup._recover_repeatedly, "recover_after_crash"),
        (cleanup._recover_repeatedly, "preserve"),
        (cleanup._recover_repeatedly, "_is_missing"),
        (cleanup._clean_up_repeatedly, "clean_up"),
    ],
)
def test_a_task_that_fails_is_carried_out_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loop: Any, task: str
) -> None:
    calls: list[str] = []

    def carry_out(name: str) -> Any:
        def call(*_: object) -> bool:
            calls.append(name)
            if name == task and calls.count(name) == 1:
                raise ValueError("once")
            return True

        return call

    for name in ("recover_after_crash", "preserve", "_is_missing", "clean_up"):
        monkeypatch.setattr(cleanup, name, carry_out(name))

    def sleep(_: float) -> None:
        if calls.count(task) >= 2:
            raise Ended

    monkeypatch.setattr(cleanup.time, "sleep", sleep)
    # The time that has passed always suffices for one more round; or asks what is missing.
    monkeypatch.setattr(cleanup, "PRESERVATION_INTERVAL", 1e12 if task == "_is_missing" else -1.0)
    with pytest.raises(Ended):
        loop(None, None)
    assert calls.count(task) == 2
    assert "failed, and is tried again" in caplog.text


def test_a_probe_that_fails_oddly_ends_and_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "VALID_FOR", 0.0)
    failures = [ValueError("once")]

    def run() -> int:
        if failures:
            raise failures.pop()
        return 7

    probe = health._Probe("/data/staging", run)
    probe.begin()
    assert not probe.result(time.monotonic() + 60).usable
    assert "the probe of /data/staging failed" in caplog.text
    probe.begin()
    assert probe.result(time.monotonic() + 60).free == 7


def test_a_batch_that_can_not_run_here_does_not_keep_others_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = DaskExecutor.__new__(DaskExecutor)
    begun = []

    def broken() -> None:
        raise RuntimeError("it is shut down")

    executor._lock = threading.Lock()
    inner = SimpleNamespace(cancel=lambda: None)
    other = SimpleNamespace(cancel=lambda: None)
    executor._submitted = {id(inner): broken, id(other): lambda: begun.append(True)}
    executor._run_all_here("its scheduler is gone")
    assert begun == [True]
    assert "could not run a batch in this process" in caplog.text
