"""Cleaning up on the signals that end a session or a cluster job.

Slurm's ``scancel`` sends SIGTERM, and a closed terminal SIGHUP. Commands then clean up, as
after Ctrl-C.

Python raises in the main thread, between two of its instructions. A signal that arrives after the
last of these, and before the main thread sleeps in the kernel, does not wake it. So a thread, which
learns of each signal at once, prods the main thread then: with SIGURG, which interrupts the sleep.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

WORDS = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up", signal.SIGINT: "interrupted"}


PRODS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds before each prod: on a busy machine, the main thread may take long to fall asleep."""


class Stopped(KeyboardInterrupt):
    """The signal ``number`` arrived."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Raise :class:`Stopped` in the block on SIGTERM and SIGHUP, instead of being killed.

    A signal that has a handler already, or is ignored (``nohup``), stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: object) -> None:
        del frame
        for other in mine:  # a second signal must not interrupt the cleanup
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in mine:
        signal.signal(number, stop)
    try:
        with _waking_main_thread():
            yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _waking_main_thread() -> Iterator[None]:
    """Let no signal be lost in the block because the main thread falls asleep."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(write, False)
    main = threading.get_ident()

    def prod() -> None:
        with open(read, "rb", buffering=0) as arrived:
            while (number := arrived.read(1)) != b"":
                if number[0] != signal.SIGURG:
                    for pause in PRODS:
                        time.sleep(pause)
                        signal.pthread_kill(main, signal.SIGURG)

    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    former_handler = signal.signal(signal.SIGURG, lambda *_: None)
    threading.Thread(target=prod, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(write)
        signal.signal(signal.SIGURG, former_handler)


def signal_outcome(error: BaseException) -> tuple[str, int]:
    """A word for the signal behind ``error``, and the exit code: 128 plus the signal."""
    for found in (error, error.__cause__):
        if isinstance(found, Stopped):
            return WORDS[signal.Signals(found.number)], 128 + found.number
    return WORDS[signal.SIGINT], 128 + signal.SIGINT
