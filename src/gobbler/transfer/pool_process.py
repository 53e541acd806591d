"""The processes of a local pool: a mother, and those forked from her that do the work.

The mother is a new interpreter that has loaded what batches need and no more, and that has one
thread. So forking her takes a millisecond, and the processes share most of their memory with her.
They inherit no descriptor of the service but its standard error.

They end with the service. It has one end of a channel to each of them, so its death closes all; the
mother then kills her children, and the kernel does that when she is killed herself. Signals that
reach all processes of a service, from a terminal or from systemd, leave them alone: requests that
run may still finish.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import pickle
import signal
import socket
import time
from contextlib import suppress

from gobbler import __version__
from gobbler.errors import Code, Fault
from gobbler.fs.parent_process import die_with
from gobbler.transfer.pool_channel import ChannelClosed, Kind, receive, send

LOADED = (
    "gobbler.transfer.batch",
    "gobbler.transfer.hash_batch",
    "gobbler.transfer.link_batch",
    "gobbler.transfer.consume_batch",
)
"""The modules with the work. The mother loads them, so that her children need not."""

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

REPORT_SECONDS = 0.1
"""Seconds between two reports of the progress of a batch."""

UMASK = 0o022
"""Everybody must be able to read what is published."""


def hello() -> bytes:
    """What the mother says first: the processes do the work of a service only if it agrees."""
    return f"{__version__} {os.geteuid()}".encode()


def main(descriptor: int) -> None:
    """Be the mother. The other end of the socket ``descriptor`` sends the ends of channels."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.umask(UMASK)
    for module in LOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is not looked at stays shared with the children
    control = socket.socket(fileno=descriptor)
    children: set[int] = set()
    with suppress(ChannelClosed, OSError):
        send(control, Kind.HELLO, hello())
        while (end := _next_end(control)) is not None:
            children.difference_update([child for child in children if _has_ended(child)])
            with suppress(OSError), end:  # no more processes: the other end sees it closed
                children.add(_fork(control, end))
    for child in children:
        if not _has_ended(child):  # else the number may be that of another process
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    os._exit(0)


def _next_end(control: socket.socket) -> socket.socket | None:
    data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    return socket.socket(fileno=descriptors[0]) if data else None


def _has_ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def _fork(control: socket.socket, end: socket.socket) -> int:
    """Fork a process that works for whoever has the other end of ``end``; its process ID."""
    mother = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            die_with(mother)
            control.close()
            _work(end)
        finally:
            os._exit(0)
    return child


class _LogSender(logging.Handler):
    """Sends what is logged here to the service, which has a log of its own form."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        content = record.name, record.levelno, record.getMessage()
        send(self._end, Kind.LOG, pickle.dumps(content))


def _work(end: socket.socket) -> None:
    logging.getLogger().addHandler(_LogSender(end))
    with suppress(ChannelClosed):
        while True:
            message = receive(end)
            try:
                function, batch = pickle.loads(message.content)  # noqa: S301 - the service's own
                result = function(batch, _Reporter(end))
            except ChannelClosed:
                raise
            except Exception as error:  # noqa: BLE001 - the service raises it
                send(end, Kind.FAILURE, _pickled(error))
            else:
                send(end, Kind.RESULT, pickle.dumps(result, pickle.HIGHEST_PROTOCOL))


def _pickled(error: Exception) -> bytes:
    try:
        content = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(content)  # noqa: S301 - our own; some errors can be written and not read
    except Exception:  # noqa: BLE001 - any class may have its own reasons
        text = f"a process of the local pool failed: {type(error).__name__}: {error}"
        return pickle.dumps(Fault(text, code=Code.EXECUTOR_FAILED))
    return content


class _Reporter:
    """The progress of a batch, for the service. Ends the work when nobody is there any more."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._files = self._bytes = 0
        self._next = time.monotonic() + REPORT_SECONDS

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the service knows the total."""

    def advance(self, files: int, size: int) -> None:
        """Count what is done; raises :class:`ChannelClosed` if the service has ended."""
        self._files += files
        self._bytes += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_SECONDS
            send(self._end, Kind.PROGRESS, pickle.dumps((self._files, self._bytes)))
