"""Ending in good order on the signals that end a session or a cluster job.

Slurm's ``scancel`` sends SIGTERM, a terminal that is closed SIGHUP. What a command has begun
is put back then, as after Ctrl-C.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

WORDS = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up", signal.SIGINT: "interrupted"}


class Stopped(KeyboardInterrupt):
    """A signal has come: its ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Within the block, raise :class:`Stopped` where SIGTERM or SIGHUP would have killed.

    Who has a handler, or ignores the signal (``nohup``), keeps that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: object) -> None:
        del frame
        for other in mine:  # both may come, one after the other; cleaning up is under way
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def outcome(error: BaseException) -> tuple[str, int]:
    """A word for what ``error`` (or its cause) stopped, and the exit code: 128 and the signal."""
    for found in (error, error.__cause__):
        if isinstance(found, Stopped):
            return WORDS[signal.Signals(found.number)], 128 + found.number
    return WORDS[signal.SIGINT], 128 + signal.SIGINT
