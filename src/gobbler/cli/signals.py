"""Cleaning up on the signals that end a session or a cluster job.

Slurm's ``scancel`` sends SIGTERM, and a closed terminal SIGHUP. Commands then clean up, as
after Ctrl-C.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

WORDS = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up", signal.SIGINT: "interrupted"}


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
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def signal_outcome(error: BaseException) -> tuple[str, int]:
    """A word for the signal behind ``error``, and the exit code: 128 plus the signal."""
    for found in (error, error.__cause__):
        if isinstance(found, Stopped):
            return WORDS[signal.Signals(found.number)], 128 + found.number
    return WORDS[signal.SIGINT], 128 + signal.SIGINT
