"""Signals that reach a command right before it sleeps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from gobbler.cli.signals import Stopped, stopping_cleanly

LONG = 60.0


@pytest.fixture(autouse=True)
def _not_ignored() -> Iterator[None]:
    """Let SIGINT be what it is in the foreground: a shell lets its background ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_does_not_wake_the_main_thread_ends_its_sleep(number: signal.Signals) -> None:
    """Another thread gets it, which is the same to Python."""
    begun = time.monotonic()

    def take_it() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.get_ident(), number)

    threading.Thread(target=take_it).start()
    with pytest.raises(KeyboardInterrupt) as raised, stopping_cleanly():
        time.sleep(LONG)
    assert isinstance(raised.value, Stopped) == (number == signal.SIGTERM)
    assert time.monotonic() - begun < LONG / 2


def test_the_signals_are_given_back() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGURG)
    before = [signal.getsignal(number) for number in numbers]
    with stopping_cleanly():
        pass
    assert [signal.getsignal(number) for number in numbers] == before
    former = signal.set_wakeup_fd(-1)
    assert former == -1
