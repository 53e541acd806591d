"""Signals that don't wake the main thread: it sleeps already, or is just about to.

The kernel may give a signal of a process to any of its threads. What Python does then is the same
as when the signal arrives between the last instruction of the main thread and its sleep: the
handler waits for the end of that sleep.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from .processes import Place, Running, is_alive, wait_for
from .spools import Workers

STOPS_WITHIN = 20.0
"""Seconds; the scheduler sleeps for longer than that."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sleeps(process: int) -> bool:
    """Whether the main thread sleeps in the kernel, and other threads are there."""
    threads = os.listdir(f"/proc/{process}/task")
    status = Path(f"/proc/{process}/task/{process}/stat").read_text()
    return len(threads) > 1 and status.rpartition(")")[2].split()[0] == "S"


def send_past_main(process: int, number: int) -> None:
    """Send the signal ``number`` to a thread of ``process`` that is not the main thread."""
    wait_for("it sleeps", lambda: sleeps(process))
    thread = next(int(t) for t in os.listdir(f"/proc/{process}/task") if int(t) != process)
    assert ctypes.CDLL(None).tgkill(process, thread, number) == 0


def test_a_worker_ends_on_a_signal_that_does_not_wake_it(place: Place) -> None:
    with Workers(place) as workers:
        worker = workers.start()
        workers.ready(worker)
        send_past_main(worker.pid, signal.SIGTERM)
        assert worker.wait(STOPS_WITHIN) == 0
        assert "stopped" in workers.output()


def test_the_supervisor_has_no_thread_that_could_get_a_signal_instead(place: Place) -> None:
    with Running(place) as service:
        processes = service.processes()
        assert len(os.listdir(f"/proc/{service.process.pid}/task")) == 1
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(STOPS_WITHIN) == 0
        wait_for("its processes end", lambda: not any(map(is_alive, processes)))
    assert "Traceback" not in service.output()
