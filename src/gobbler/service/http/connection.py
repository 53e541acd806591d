"""A connection of a client: requests come over it, one after the other.

The service answers them in order. It reads no further while one waits, and begins no answer while
the kernel has not taken all of the last one. So a client that sends much and reads nothing costs
little more than its connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from asyncio.trsock import TransportSocket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gobbler.errors import Code, GobblerError, Refused
from gobbler.service.connections import STALLED_AFTER
from gobbler.service.http.exchange import Exchange
from gobbler.service.responses import failure, json_answer

if TYPE_CHECKING:
    from gobbler.service.http.server import HttpServer

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line and headers, together."""

MOST_WAITING = 64
"""Requests of one connection that wait for the answer to an earlier one."""

HEAD_WITHIN = 10.0
"""Seconds in which a client must have sent its first, or a begun, request line with its headers."""

BODY_WITHIN = 10.0
"""Seconds after the answer in which a client must have sent the rest of a body."""

IDLE_AFTER = 75.0
"""Seconds after which a connection without a request is closed."""

IDLE_WHEN_CROWDED = 5.0
"""The same while most of the connections that a worker keeps open are in use."""

LINGER = 2.0
"""Seconds in which a client that was refused may still send, so that it can read why."""

logger = logging.getLogger(__name__)


class _TooLargeError(Exception):
    """A request has too long a request line, or too many headers."""


class Connection(asyncio.BufferedProtocol):
    """One connection to ``server``. ``deadline`` (loop time): when it must have got further."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.client = ""
        self.deadline = 0.0
        self.is_lost = False
        self._parser = HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._is_in_head = self._in_body = False
        self._is_paused = self._is_ending = self._is_advancing = False
        self._is_reading = True
        self._sending = threading.Lock()
        self._room: asyncio.Future[None] | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = self._silent = 0

    @property
    def socket(self) -> TransportSocket:
        """The socket, to look at."""
        found: TransportSocket = self._transport.get_extra_info("socket")
        return found

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # it is one by its methods
        self._transport.set_write_buffer_limits(0)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else ""
        self.deadline = self.server.loop.time() + HEAD_WITHIN
        self.server.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: all connections share it, for each parses at once."""
        del sizehint
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what has come, and answer the requests that are complete."""
        if self._is_ending:
            return
        self._silent += nbytes
        try:
            try:
                self._parser.feed_data(self.server.buffer[:nbytes])
            except HttpParserUpgrade as upgrade:
                self._feed_rest(self.server.buffer[upgrade.args[0] : nbytes])
            if self._silent > LARGEST_HEAD:
                raise _TooLargeError
        except HttpParserError as error:
            self._refuse(isinstance(error.__context__, _TooLargeError))
        except _TooLargeError:
            self._refuse(is_too_large=True)
        if self._waiting:
            self._advance()
        elif not (self._current or self._is_in_head or self._in_body or self._is_paused):
            # A request has begun.
            self._is_in_head = True
            self.deadline = self.server.loop.time() + HEAD_WITHIN

    def _feed_rest(self, data: memoryview) -> None:
        """Go on with HTTP/1.1, as the client does when the answer does not say otherwise."""
        while data:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            else:
                return

    def eof_received(self) -> bool:
        """Take the end of what a client sends for the end of its interest."""
        self._forget_client()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._forget_client()
        self.server.left(self)
        del self._parser  # it refers back to this connection

    def pause_writing(self) -> None:
        """Note that the kernel has not taken all."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Note that it has."""
        self._is_paused = False
        self._wake()
        if self._current is None and not self._is_ending:
            self._be_patient()
        self._advance()

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._target += url
        self._head_size += len(url)
        if self._head_size > LARGEST_HEAD:
            raise _TooLargeError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._headers.append((name.lower(), value))
        self._head_size += len(name) + len(value)
        if self._head_size > LARGEST_HEAD:
            raise _TooLargeError

    def on_headers_complete(self) -> None:
        """Take the request; its body is dropped when it comes."""
        if len(self._waiting) >= MOST_WAITING:
            raise _TooLargeError
        self._silent = 0
        self._is_in_head, self._in_body = False, True
        parser, target = self._parser, self._target
        method = parser.get_method().decode()
        if target[:1] != b"/":
            target = _origin_form(target)
        exchange = Exchange(self, method, target, self._headers)
        if parser.get_http_version() == "1.0":
            exchange.is_http_1_0 = True
        # Who waits for "100 Continue" gets an answer, and then may send the body or not.
        if (
            not parser.should_keep_alive()
            or method == "CONNECT"
            or any(name == b"expect" for name, _ in self._headers)
        ):
            exchange.closes = True
        self._headers = []  # trailers are none of its headers
        self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Drop a part of a body."""
        del body
        self._silent = 0

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_body = False
        self._target, self._headers = b"", []
        self._head_size = self._silent = 0
        if self._current is None and not self._waiting and not self._is_ending:
            self._be_patient()

    # What exchanges do.

    def write(self, data: bytes) -> None:
        """Send ``data``; what the kernel does not take now is kept until it does."""
        if not self.is_lost:
            self._transport.write(data)

    def send_now(self, data: bytes) -> bytes:
        """Send ``data`` from any thread, as far as the kernel takes it now; returns the rest.

        What was written before must have left this process.
        """
        with self._sending:
            if self.is_lost:
                return b""
            try:
                return data[os.write(self._transport.get_extra_info("socket").fileno(), data) :]
            except BlockingIOError:
                return data
            except OSError:
                return b""  # the client has left, as the event loop is about to notice

    async def drained(self) -> None:
        """Wait until the kernel has all that was written."""
        while self._is_paused and not self.is_lost:
            self._room = self.server.loop.create_future()
            await self._room
        if self.is_lost:
            await asyncio.sleep(0)  # whoever answers a client that has left is cancelled here

    def answered(self, exchange: Exchange) -> None:
        """Go on after the answer to ``exchange``, or close the connection."""
        if exchange is not self._current:
            return  # its client has left
        self._current = None
        if exchange.closes:
            self._close()
        else:
            self._be_patient()
            if not self._is_advancing:
                self._advance()

    def abort(self) -> None:
        """Break the connection off at once."""
        with suppress(OSError):  # another process or thread may hold the socket as well
            self.socket.shutdown(socket.SHUT_RDWR)
        self._transport.abort()

    # What the server does.

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self._current is None and not self._waiting

    def finish(self) -> None:
        """Close the connection, after the answer if there is one to come."""
        if self._current is not None:
            self._current.closes = True
        else:
            self._close()

    def expire(self) -> None:
        """End the connection: it did not get further in time."""
        self.deadline = 0.0
        if self._is_paused or self._is_ending or not self.is_idle:
            self._transport.abort()
        else:
            self._close()

    def _advance(self) -> None:
        """Begin to answer what waits, as long as the kernel takes the answers."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._current is None and self._waiting and not self._is_paused:
            self._current = self._waiting.popleft()
            if self._current.refusal is None:
                self.server.handler(self._current)
            else:
                self._current.answer(self._current.refusal)
        self._is_advancing = False
        if self.is_lost:
            return
        if self._is_reading == bool(self._waiting):
            self._read_on(not self._waiting)
        if self._current is not None:
            self.deadline = 0.0

    def _be_patient(self) -> None:
        """Set when a connection must have got further whose requests are answered."""
        patience = IDLE_WHEN_CROWDED if self.server.is_crowded else IDLE_AFTER
        if self._is_paused or self._waiting:
            patience = STALLED_AFTER
        elif self._in_body:
            patience = BODY_WITHIN
        self.deadline = self.server.loop.time() + patience

    def _read_on(self, wanted: bool) -> None:
        if wanted != self._is_reading and not self._transport.is_closing():
            self._is_reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _refuse(self, is_too_large: bool) -> None:
        """Answer something that is no request, after the requests before it, and close."""
        self._is_ending = True
        self._in_body = True  # whatever follows is dropped like one
        reason = "this is no HTTP request that the service understands"
        refused: GobblerError = Refused(reason, code=Code.INVALID_REQUEST)
        answer = failure(refused)
        if is_too_large:
            reason = "the request line or the headers are too long"
            body = {"status": "ERROR", "reason": reason, "code": Code.INVALID_REQUEST.value}
            answer = json_answer(body, 431)
        exchange = Exchange(self, "GET", b"", ())
        exchange.closes = True
        exchange.refusal = answer
        self._waiting.append(exchange)

    def _close(self) -> None:
        self._is_ending = True
        self._waiting.clear()
        loop = self.server.loop
        if (self._in_body or self._is_in_head) and not self.is_lost:
            # A connection that is closed with something unread is reset, and its client may
            # lose the answer.
            self.deadline = loop.time() + LINGER
            self._read_on(True)
            with suppress(OSError):
                self._transport.write_eof()
        else:
            self.deadline = loop.time() + STALLED_AFTER
            self._transport.close()

    def _forget_client(self) -> None:
        if self.is_lost:
            return
        with self._sending:  # the socket may be closed as soon as this method returns
            self.is_lost = True
        self._waiting.clear()
        self._is_ending = True
        current, self._current = self._current, None
        if current is not None:
            current.client_left()
        self._wake()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target that names a whole address, as proxies get it."""
    try:
        parts = urlsplit(target.decode("latin-1"))
    except ValueError:
        return target
    if parts.scheme and parts.netloc:
        return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}".encode("latin-1")
    return target
