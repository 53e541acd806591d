"""The HTTP server of one process: it accepts connections, and watches over their time."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from email.utils import formatdate

from gobbler.service.http.connection import Connection
from gobbler.service.http.exchange import Exchange

MAX_CONNECTIONS = 16_384
"""Connections that an HTTP worker keeps open; more wait to be accepted."""

CROWDED = MAX_CONNECTIONS * 3 // 4
"""Connections from which on idle ones are closed soon."""

BUFFER_SIZE = 64 * 1024
"""Bytes that are read from a connection at a time."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the deadlines of connections, and at the clock."""

NO_DESCRIPTORS_PAUSE = 0.5
"""Seconds after which the server tries again to accept when the process has no descriptor left."""

logger = logging.getLogger(__name__)


class HttpServer:
    """Lets ``handler`` answer the requests that come to ``listener``, in the running event loop.

    ``handler`` is called with each exchange. It answers at once, or begins a task that does, and
    raises nothing. Other processes may accept from the same socket. ``is_crowded``: most of the
    connections that this process keeps are in use. ``date_line``: the header with the present time.
    """

    def __init__(self, listener: socket.socket, handler: Callable[[Exchange], object]) -> None:
        self.loop = asyncio.get_running_loop()
        self.closes_connections = self.is_crowded = False
        self.buffer = memoryview(bytearray(BUFFER_SIZE))
        self._listener = listener
        self.handler = handler
        self._connections: set[Connection] = set()
        self._accepting: set[asyncio.Task[object]] = set()
        self._is_open = self._is_listening = False
        self._empty = asyncio.Event()
        self.date_line = _date_line()
        self._watching = self.loop.create_task(self._watch())

    def open(self) -> None:
        """Accept connections."""
        self._is_open = True
        self._listen()

    def close(self) -> None:
        """Accept no more connections; those that come wait for other processes, if there are any.

        Safe to call again.
        """
        self._is_open = False
        self._listen()

    async def finish(self) -> None:
        """Close all connections, each after the answer that is under way; returns afterwards."""
        self.close()
        self.closes_connections = True
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for connection in tuple(self._connections):
            connection.finish()
        while self._connections:
            self._empty.clear()
            await self._empty.wait()
        self._watching.cancel()

    def break_off(self) -> None:
        """Break all connections off."""
        for connection in tuple(self._connections):
            connection.abort()

    # For connections.

    def joined(self, connection: Connection) -> None:
        """Keep a connection that was made."""
        self._connections.add(connection)
        self._listen()

    def left(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
        self._listen()

    def _listen(self) -> None:
        self.is_crowded = len(self._connections) > CROWDED
        count = len(self._connections) + len(self._accepting)
        wanted = self._is_open and count < MAX_CONNECTIONS
        if wanted == self._is_listening:
            return
        self._is_listening = wanted
        if wanted:
            self.loop.add_reader(self._listener.fileno(), self._accept)
        else:
            self.loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        # One at a time: whoever accepts all that wait leaves nothing to the other processes.
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            logger.error("could not accept a connection: %s", error.strerror)
            self._is_listening = False
            self.loop.remove_reader(self._listener.fileno())
            self.loop.call_later(NO_DESCRIPTORS_PAUSE, self._listen)
            return
        accepted.setblocking(False)
        task = self.loop.create_task(self._connect(accepted))
        self._accepting.add(task)
        task.add_done_callback(self._connected)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self), accepted)
        except OSError as error:
            logger.info("a connection was lost at once: %s", error.strerror)
            accepted.close()

    def _connected(self, task: asyncio.Task[object]) -> None:
        self._accepting.discard(task)
        self._listen()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL - time.time() % WATCH_INTERVAL)
            self.date_line = _date_line()
            now = self.loop.time()
            for connection in tuple(self._connections):
                if 0.0 < connection.deadline < now:
                    connection.expire()


def _date_line() -> bytes:
    """The header with the present time."""
    return f"date: {formatdate(time.time(), usegmt=True)}\r\n".encode()
