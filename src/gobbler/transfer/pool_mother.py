"""The mother of a local pool, as the service sees her: see :mod:`gobbler.transfer.pool_process`."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

from gobbler.transfer import pool_process
from gobbler.transfer.pool_channel import Channel, ChannelClosed, Kind, receive

START_SECONDS = 30.0
"""Seconds in which the mother must say that she is ready."""

END_SECONDS = 5.0
"""Seconds after which a mother that does not end is killed."""

_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from gobbler.transfer.pool_process import main; main(int(sys.argv[1]))"
)

lock = threading.Lock()
"""Held while sockets are made, and acquired before this process forks.

A forked process that had the end of a channel would hide that the process of the pool has died.
"""

_ends: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def close_all() -> None:
    """Close the channels of all pools, in a process that was forked from theirs."""
    for end in list(_ends):
        end.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    _ends.update(pair)
    return pair


class Unusable(Exception):
    """No pool can be started here."""


class Mother:
    """The mother, with a channel to each of her ``processes``. Raises ``OSError``."""

    def __init__(self, processes: int) -> None:
        self.channels: list[Channel] = []
        with lock:
            self._control, end = _pair()
            try:
                self._process = _start(end)
            except BaseException:
                self._control.close()
                raise
            finally:
                end.close()
        try:
            self._greet()
            for _ in range(processes):
                self.channels.append(self._fork())
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Her process ID."""
        return self._process.pid

    def _greet(self) -> None:
        ready, _, _ = select.select([self._control], [], [], START_SECONDS)
        if not ready:
            raise Unusable(f"it was not ready within {START_SECONDS:g} seconds")
        try:
            said = receive(self._control)
        except ChannelClosed:
            raise Unusable("its first process ended at once") from None
        if said != (Kind.HELLO, pool_process.hello()):
            raise Unusable("it has another version of gobbler, or runs as another account")

    def _fork(self) -> Channel:
        with lock:
            ours, end = _pair()
            with end:
                socket.send_fds(self._control, [b"f"], [end.fileno()])
        return Channel(ours)

    def end(self) -> None:
        """End the mother and her processes, and wait for her."""
        for channel in self.channels:
            channel.close()
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # somebody has stopped her
            self._process.kill()
            self._process.wait()


def _start(end: socket.socket) -> subprocess.Popen[bytes]:
    """Start the interpreter: isolated from the environment, with the modules of this one."""
    if not os.path.isabs(sys.executable or ""):
        raise Unusable("this program does not know its interpreter")
    # Where the package is may be known to an import hook only.
    beside = str(Path(pool_process.__file__).absolute().parents[2])
    paths = [*sys.path, *([] if beside in sys.path else [beside])]
    # It needs nothing that `site` does: the paths are known, and it prints nothing.
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, str(end.fileno())]
    return subprocess.Popen(
        [*command, *filter(os.path.isabs, paths)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
    )
