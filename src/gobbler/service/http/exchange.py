"""One request of a client, and its answer."""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_to_bytes

from gobbler.service.http.answer import STATUS_LINES, WITHOUT_BODY, Answer

if TYPE_CHECKING:
    from gobbler.service.http.connection import Connection
    from gobbler.service.metrics.metrics import HttpCells

JOINED = 64 * 1024
"""Bytes of a first part up to which it is sent together with the headers."""

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""


class Exchange:
    """A request, and how it is answered: at once, or part by part; in the event loop only.

    ``closes``: the connection ends with the answer.

    ``raw_path`` is the path as it was sent, ``path`` the one that it stands for, with U+FFFD for
    what is not UTF-8. ``client`` is the address of the client. The body of a request is dropped:
    no endpoint wants one. ``cells``: where the answer is counted, once that is known. ``refusal``:
    the answer to what is no request.
    """

    __slots__ = (
        *("_chunked", "_connection", "_gone", "_head", "_left", "cells", "closes", "has_begun"),
        *("headers", "is_complete", "is_http_1_0", "method", "path", "query"),
        *("raw_path", "refusal", "task"),
    )

    def __init__(
        self, connection: Connection, method: str, target: bytes, headers: Headers
    ) -> None:
        self._connection = connection
        self.method = method
        self.headers = headers
        self.is_http_1_0 = self.closes = False
        self.raw_path, _, self.query = target.partition(b"?")
        self.path = decoded(self.raw_path)
        self.cells: HttpCells | None = None
        self.refusal: Answer | None = None
        self.task: asyncio.Task[None] | None = None
        self.has_begun = self.is_complete = False
        self._chunked = False
        self._left: int | None = None
        self._head = b""
        self._gone: Callable[[], object] | None = None

    @property
    def client(self) -> str:
        """The address of the client."""
        return self._connection.client

    @property
    def socket(self) -> TransportSocket:
        """The socket of the connection, to look at."""
        return self._connection.socket

    def header(self, name: bytes) -> str | None:
        """The value of the last header ``name`` (lower case), or ``None``."""
        found = None
        for each, value in self.headers:
            if each == name:
                found = value.decode("latin-1")
        return found

    def parameter(self, name: str, default: str) -> str:
        """The value of the last parameter ``name`` of the query."""
        if not self.query:
            return default
        found = parse_qs(self.query.decode("latin-1"), keep_blank_values=True)
        return found.get(name, [default])[-1]

    def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        data, size = self._encoded(answer)
        if self.cells is not None:
            self.cells.answered(answer.status, size)
        self._connection.write(data)
        self.is_complete = True
        self._connection.answered(self)

    def answer_in_thread(self, answer: Answer) -> None:
        """Send a whole answer from any thread: the client need not wait for the event loop.

        Nothing else may answer this request, except :meth:`abort`.
        """
        data, size = self._encoded(answer)
        rest = self._connection.send_now(data)
        self.call_in_loop(self._has_answered, answer.status, size, rest)

    def _has_answered(self, status: int, size: int, rest: bytes) -> None:
        if self.cells is not None:
            self.cells.answered(status, size)
        if rest:
            self._connection.write(rest)
        self.is_complete = True
        self._connection.answered(self)

    def _encoded(self, answer: Answer) -> tuple[bytes, int]:
        """All bytes of an answer, and the number of those that are its body."""
        status, head, body, length = answer
        if length is None:
            length = len(body)
        if self.method == "HEAD":
            body = b""
        if status not in WITHOUT_BODY:
            head = b"%bcontent-length: %d\r\n" % (head, length)
        return b"%b%b\r\n%b" % (self._first_lines(status), head, body), len(body)

    def begin(self, status: int, head: bytes, length: int | None) -> None:
        """Begin an answer whose body follows in parts: ``length`` bytes, or nobody knows yet.

        ``head``: lines of headers; see :func:`~gobbler.service.http.answer.lines`.
        """
        self._left = length
        if length is not None:
            head += b"content-length: %d\r\n" % length
        elif self.is_http_1_0:
            self.closes = True  # the end of the connection is that of the body
        else:
            self._chunked = True
            head += b"transfer-encoding: chunked\r\n"
        if self.cells is not None:
            self.cells.answered(status, 0)
        self._head = b"%b%b\r\n" % (self._first_lines(status), head)

    async def send(self, part: bytes) -> None:
        """Send a part of the body; returns when the kernel has all of it."""
        self._count(len(part))
        if self._left is not None:
            self._left -= len(part)
        if self.method == "HEAD" or not part:
            return
        framed = b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part
        if self._head and len(framed) <= JOINED:
            framed, self._head = self._head + framed, b""
        self._send_head()
        self._connection.write(framed)
        await self._connection.drained()

    async def flushed(self) -> None:
        """Wait until the kernel has all that was sent so far."""
        self._send_head()
        await self._connection.drained()

    def has_sent(self, size: int) -> None:
        """Count a part of the body that was sent through :attr:`socket` by somebody else."""
        self._count(size)
        if self._left is not None:
            self._left -= size

    def count_in_flight(self, change: int) -> None:
        """Count a task that answers this request: 1 when it begins, -1 when it ends."""
        if self.cells is not None:
            self.cells.counters.add_alone(self.cells.in_flight, change)

    def end(self) -> None:
        """End an answer that was begun; it breaks off if parts of it are missing."""
        if self._left and self.method != "HEAD":
            self.abort()
            return
        self._send_head()
        if self._chunked and self.method != "HEAD":
            self._connection.write(b"0\r\n\r\n")
        self.is_complete = True
        self._connection.answered(self)

    def abort(self) -> None:
        """Break the connection off: the client notices that the answer is incomplete."""
        if not self.is_complete:
            self.is_complete = True
            self._connection.abort()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Answer in a task, which is cancelled when the client leaves; see :meth:`when_gone`."""
        self.task = self._connection.server.loop.create_task(work)

    def call_in_loop(self, act: Callable[..., object], *arguments: object) -> None:
        """Call ``act`` soon in the event loop; from any thread."""
        with suppress(RuntimeError):  # it has ended, and nobody waits for an answer
            self._connection.server.loop.call_soon_threadsafe(act, *arguments)

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call ``act`` when the client leaves before it is answered, instead of cancelling."""
        self._gone = act
        if self._connection.is_lost:
            act()

    def client_left(self) -> None:
        """The client has left; called by the connection."""
        self.is_complete = True
        if self._gone is not None:
            self._gone()
        elif self.task is not None:
            self.task.cancel()

    def _first_lines(self, status: int) -> bytes:
        """The status line and the headers that the server adds."""
        self.has_begun = True
        server = self._connection.server
        if self.closes or server.closes_connections:
            self.closes = True
            return b"%b%bconnection: close\r\n" % (STATUS_LINES[status], server.date_line)
        if self.is_http_1_0:
            return b"%b%bconnection: keep-alive\r\n" % (STATUS_LINES[status], server.date_line)
        return STATUS_LINES[status] + server.date_line

    def _send_head(self) -> None:
        if self._head:
            self._connection.write(self._head)
            self._head = b""

    def _count(self, size: int) -> None:
        if self.cells is not None:
            self.cells.counters.add_alone(self.cells.size, size)


def decoded(raw: bytes) -> str:
    """The path that ``raw`` stands for; U+FFFD is in the place of what is not UTF-8."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")
