"""The signals that stop a process."""

from __future__ import annotations

import os
import queue
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from gobbler.service.stop_signals import STOP, StopSignals

PATIENCE = 20.0


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = [signal.getsignal(number) for number in STOP]
    signals = StopSignals(ignores_hangup=False)
    yield signals
    signals.close()
    assert [signal.getsignal(number) for number in STOP] == before
    former = signal.set_wakeup_fd(-1)
    assert former == -1
    assert not any(thread.name == "signals" for thread in threading.enumerate())


@pytest.mark.parametrize("number", STOP)
def test_a_thread_acts_on_a_signal(signals: StopSignals, number: signal.Signals) -> None:
    received: queue.Queue[tuple[signal.Signals, str]] = queue.Queue()
    signals.on_first(lambda found: received.put((found, threading.current_thread().name)))
    os.kill(os.getpid(), number)
    assert received.get(timeout=PATIENCE) == (number, "signals")


def test_a_signal_that_came_before_the_thread_counts(signals: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    received: queue.Queue[signal.Signals] = queue.Queue()
    signals.on_first(received.put)
    assert received.get(timeout=PATIENCE) == signal.SIGTERM


def test_a_program_can_wait_for_their_descriptor(signals: StopSignals) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
        assert signals.first() is None
        os.kill(os.getpid(), number)
        assert select.select([signals.descriptor], [], [], PATIENCE)[0] == [signals.descriptor]
        assert signals.first() == (None if number == signal.SIGUSR1 else number)


def test_only_the_first_signal_counts(signals: StopSignals) -> None:
    received: queue.Queue[signal.Signals] = queue.Queue()
    signals.on_first(received.put)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert received.get(timeout=PATIENCE) == signal.SIGINT
    assert received.empty()


def ending_of(number: signal.Signals | None) -> int:
    """How a forked process ends that gets a signal."""
    child = os.fork()
    if child == 0:
        time.sleep(PATIENCE)
        os._exit(0)
    if number is not None:
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("number", STOP)
def test_a_forked_process_ends_and_its_parent_learns_nothing(
    signals: StopSignals, number: signal.Signals
) -> None:
    assert ending_of(number) == -number
    assert signals.first() is None


def test_a_signal_right_after_a_fork_is_the_childs_alone(
    signals: StopSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives before the child has left the pipe of its parent."""
    leave = StopSignals.leave_to_default

    def hit_and_leave(self: StopSignals) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        leave(self)

    monkeypatch.setattr(StopSignals, "leave_to_default", hit_and_leave)
    assert ending_of(None) == -signal.SIGTERM
    assert signals.first() is None
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
