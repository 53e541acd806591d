"""The signals that stop a process: a thread acts on them.

A handler of Python runs in the main thread, between two of its instructions. If a signal arrives
after the last of these and before the main thread sleeps in the kernel, or if the kernel gives it
to another thread, the handler runs only when something else wakes the main thread. And a handler
must take no lock that the interrupted thread may hold. So the handlers here do nothing; but Python
writes the number of each signal into a pipe, at the moment when it arrives. A thread reads that, or
the main thread waits for it.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_END = b"\0"


class StopSignals:
    """SIGTERM, SIGINT and SIGHUP, from now on until :meth:`close`. Make it in the main thread.

    A process that is forked meanwhile does not share them: they end it, as they do by default.
    SIGHUP stays ignored if ``ignores_hangup`` (``nohup``).
    """

    def __init__(self, *, ignores_hangup: bool) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._write, False)
        wanted = [number for number in STOP if number != signal.SIGHUP or not ignores_hangup]
        self._thread: threading.Thread | None = None
        self._former_descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, _ignore) for number in wanted}
        _installed.append(self)

    @property
    def descriptor(self) -> int:
        """It can be read once a signal has arrived: one of these, or any other with a handler."""
        return self._read

    def first(self) -> signal.Signals | None:
        """The first of them, if one has arrived; for a program that waits for :attr:`descriptor`.

        Not together with :meth:`on_first`.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while poll.poll(0):
            number = os.read(self._read, 1)[0]
            if number in self._former:
                return signal.Signals(number)
        return None

    def on_first(self, act: Callable[[signal.Signals], object]) -> None:
        """Call ``act`` with the first of them, also if it has arrived already; in a thread."""
        self._thread = threading.Thread(target=self._wait, args=(act,), name="signals", daemon=True)
        self._thread.start()

    def _wait(self, act: Callable[[signal.Signals], object]) -> None:
        while (number := os.read(self._read, 1)) != _END:
            if number[0] in self._former:
                act(signal.Signals(number[0]))
                return

    def close(self) -> None:
        """Give the signals back to whoever had them before."""
        _installed.remove(self)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_descriptor)
        if self._thread is not None:
            with suppress(BlockingIOError):  # full, so the thread does not wait
                os.write(self._write, _END)
            self._thread.join()
        self.close_pipe()

    def close_pipe(self) -> None:
        """Close the descriptors."""
        os.close(self._read)
        os.close(self._write)

    def leave_to_default(self) -> None:
        """Forget the signals in a forked process, which must not write into the pipe."""
        signal.set_wakeup_fd(-1)
        for number in self._former:
            signal.signal(number, signal.SIG_DFL)
        self.close_pipe()


def ignores_hangup() -> bool:
    """Whether this process ignores SIGHUP."""
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


_installed: list[StopSignals] = []

_forking = threading.local()
"""The signal mask of a thread that forks."""


def _before_fork() -> None:
    # No signal may arrive in the child before it has left the pipe of its parent.
    if _installed:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)


def _after_fork() -> None:
    if (mask := getattr(_forking, "mask", None)) is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    while _installed:
        _installed.pop().leave_to_default()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
