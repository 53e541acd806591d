"""Direct connections: plain HTTP to a service, without a proxy and without a password.

Most services are reached like that. ``requests`` spends 0.6 ms of processor time on each request,
mostly to find out what applies to it; here it is a tenth of that. Whatever needs more goes through
:mod:`gobbler.client.session`: TLS, proxies, passwords in the address or in a ``.netrc``, and
redirections.

A broken connection is opened again for what may be sent twice, as in :mod:`gobbler.client.retry`.
Each process and thread has connections of its own; those that are free wait for the next request.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import re
import select
import socket
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import NamedTuple

from gobbler import __version__
from gobbler.client import errors
from gobbler.client.patience import ArrivingResponse
from gobbler.client.response import PIECE_BYTES
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.client.transport_errors import broken_off, no_answer, not_connected, too_slow

CONNECT_SECONDS = 10.0

FREE_CONNECTIONS = 64
"""Free connections to one service that are kept."""

UNAVAILABLE = frozenset({502, 503, 504})
"""Statuses of a proxy that reaches no service at the moment."""

REDIRECTIONS = frozenset({301, 302, 303, 307, 308})

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""Options of a connection that notices when its host vanishes."""

HEADERS = {
    "User-Agent": f"gobbler/{__version__}",
    # A file is needed as it is in the registry, and its length is checked.
    "Accept-Encoding": "identity",
    "Accept": "application/json, */*",
}

_PLAIN = re.compile(
    r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?((?:/[A-Za-z0-9_.~-]+)*)"
)


class Address(NamedTuple):
    """Where a service listens, and the path that its endpoints stand below."""

    host: str
    port: int
    path: str


def plain_address(url: str) -> Address | None:
    """The address in ``url``; ``None`` for TLS, a password, or a host that is written oddly."""
    found = _PLAIN.fullmatch(url)
    if found is None:
        return None
    return Address(found[1].strip("[]"), int(found[2] or 80), found[3])


def environment_applies() -> bool:
    """Whether a proxy is set in the environment, or a password may be in a ``.netrc``."""
    for name in os.environ:
        if name[-6:].lower() == "_proxy" and name.lower() != "no_proxy":
            return True
    if "NETRC" in os.environ:
        return True
    home = os.path.expanduser("~")
    return os.path.exists(f"{home}/.netrc") or os.path.exists(f"{home}/_netrc")


class _Headers(Mapping[str, str]):
    """The headers of an answer; several of one name are joined."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in found:
            key = name.lower()
            before = self._values.get(key)
            self._values[key] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class DirectResponse:
    """A :class:`~gobbler.client.response.Response` of a direct connection to ``shown``."""

    def __init__(self, raw: HTTPResponse, shown: str) -> None:
        self._raw = raw
        self._shown = shown
        self.status_code = raw.status
        self.reason = raw.reason
        self.headers: Mapping[str, str] = _Headers(raw.getheaders())

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self.iter_content(PIECE_BYTES))

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """The body in pieces; raises ``NoAnswer`` if it does not arrive as a whole."""
        pieces = self._pieces(chunk_size)
        while True:
            try:
                piece = next(pieces, None)
            except TimeoutError:
                raise too_slow(self._shown) from None
            except (OSError, HTTPException, _Undecoded) as error:
                raise broken_off(self._shown, error) from None
            if piece is None:
                return
            yield piece

    def _pieces(self, count: int) -> Iterator[bytes]:
        if self.headers.get("Content-Encoding", "identity") != "identity":
            yield from _unpacked(self._raw, self.headers, count)
            return
        while piece := self._raw.read(count):
            yield piece
        if self._raw.length:
            raise IncompleteRead(b"", self._raw.length)


class _Undecoded(Exception):
    """What a proxy has packed can't be unpacked."""


def _unpacked(raw: HTTPResponse, headers: Mapping[str, str], count: int) -> Iterator[bytes]:
    """The body of ``raw``, which a proxy has packed though it was asked not to."""
    import urllib3

    packed = urllib3.HTTPResponse(raw, headers, raw.status, preload_content=False)
    try:
        yield from packed.stream(count, decode_content=True)
    except urllib3.exceptions.ReadTimeoutError:
        raise TimeoutError from None
    except urllib3.exceptions.HTTPError as error:
        raise _Undecoded(error) from error


_free: dict[tuple[int, Address], collections.deque[HTTPConnection]] = collections.defaultdict(
    collections.deque
)
"""Free connections by process and address: two processes must not use one connection.

A forked child leaves those of its parent alone.
"""


@atexit.register
def _close_free() -> None:
    for (process, _), connections in _free.items():
        while process == os.getpid() and connections:
            connections.pop().close()


@contextlib.contextmanager
def answering(
    address: Address,
    method: str,
    target: str,
    headers: Mapping[str, str] | None,
    *,
    seconds: float | None,
    shown: str,
) -> Iterator[DirectResponse]:
    """The answer to a request; read its body within the block.

    ``target`` is the path and the query, encoded; ``seconds``: how long to wait for each byte.
    Sends a ``GET`` again if the connection breaks, or a proxy reaches no service. Raises
    :class:`~gobbler.client.errors.NoAnswer`; ``shown`` names the service.
    """
    connection, raw = _asked(address, method, target, headers, seconds, shown)
    try:
        yield DirectResponse(raw, shown)
    except BaseException:
        raw.close()
        connection.close()
        raise
    _release(address, connection, raw)


def _release(address: Address, connection: HTTPConnection, raw: HTTPResponse) -> None:
    """Keep a connection whose answer was read to its end; close any other."""
    if raw.length == 0 and not raw.chunked:
        raw.close()
    free = _free[os.getpid(), address]
    if raw.isclosed() and not raw.will_close and len(free) < FREE_CONNECTIONS:
        free.append(connection)
        return
    raw.close()
    connection.close()


def _asked(
    address: Address,
    method: str,
    target: str,
    headers: Mapping[str, str] | None,
    seconds: float | None,
    shown: str,
) -> tuple[HTTPConnection, HTTPResponse]:
    """The connection and the beginning of the answer, after as many attempts as are allowed."""
    for attempt in range(1, READ_ATTEMPTS + 1):
        if attempt > 2:  # the second comes at once: the service may just have closed a connection
            time.sleep(read_pause(attempt - 1))
        may_repeat = attempt < READ_ATTEMPTS
        try:
            connection = _connected(address, seconds)
        except OSError as error:  # nothing was sent, so also a `POST` may be repeated
            if may_repeat:
                continue
            raise _unconnected(shown, error) from None
        may_repeat = may_repeat and method == "GET"
        try:
            raw = _sent(connection, method, address.path + target, headers, shown)
        except errors.NoAnswer:
            if not may_repeat:
                raise
            continue
        if not (may_repeat and raw.status in UNAVAILABLE):
            return connection, raw
        raw.close()
        connection.close()
    raise AssertionError("the last attempt returns or raises")


def _unconnected(shown: str, error: OSError) -> errors.NoAnswer:
    return too_slow(shown) if isinstance(error, TimeoutError) else not_connected(shown, error)


def _sent(
    connection: HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str] | None,
    shown: str,
) -> HTTPResponse:
    """The beginning of the answer; closes the connection, and raises ``NoAnswer``, without one."""
    try:
        connection.request(method, target, headers={**HEADERS, **(headers or {})})
        return connection.getresponse()
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError):
            raise too_slow(shown) from None
        if isinstance(error, OSError | HTTPException):
            raise no_answer(shown, error) from None
        raise


class _Connection(HTTPConnection):
    response_class = ArrivingResponse


def _connected(address: Address, seconds: float | None) -> HTTPConnection:
    """A connection, free or new, on which each read waits for ``seconds`` at most."""
    free = _free[os.getpid(), address]
    while free:
        with contextlib.suppress(IndexError):  # another thread was faster
            connection = free.pop()
            if _is_usable(connection.sock):
                connection.sock.settimeout(seconds)
                return connection
            connection.close()
    connection = _Connection(address.host, address.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
        for option in KEEPALIVE:
            connection.sock.setsockopt(*option)
        connection.sock.settimeout(seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_usable(connected: socket.socket) -> bool:
    """Whether the service has neither closed a free connection nor sent something unasked."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return not poll.poll(0)
