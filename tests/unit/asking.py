"""Requests to routes and to the application, over real connections in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from gobbler.service.app import Route, respond
from gobbler.service.http.exchange import Exchange
from gobbler.service.http.server import HttpServer

PATIENCE = 30.0


class Got(NamedTuple):
    """What a client got; ``is_whole``: the answer did not break off."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool


def routed(route: Route) -> Callable[[Exchange], None]:
    """A handler that answers all requests by ``route``."""
    return lambda exchange: respond(exchange, route)


@asynccontextmanager
async def serving(handler: Callable[[Exchange], object]) -> AsyncIterator[int]:
    """A server during the block; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        server = HttpServer(listener, handler)
        server.open()
        try:
            yield listener.getsockname()[1]
        finally:
            server.break_off()
            await asyncio.wait_for(server.finish(), PATIENCE)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server during the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def request(
    target: str, method: str = "GET", headers: Mapping[str, str] | None = None, version: str = "1.1"
) -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "host: x"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def received(reader: asyncio.StreamReader, method: str = "GET") -> Got:
    """The next answer of a connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    if method == "HEAD" or status in (204, 304):
        return Got(status, headers, b"", is_whole=True)
    try:
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif "transfer-encoding" in headers:
            body = b"".join([chunk async for chunk in _chunks(reader)])
        else:
            body = await reader.read()
    except asyncio.IncompleteReadError as broken:
        return Got(status, headers, broken.partial, is_whole=False)
    except ConnectionError:
        return Got(status, headers, b"", is_whole=False)
    return Got(status, headers, body, is_whole=True)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"


async def got(
    handler: Callable[[Exchange], object],
    target: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Got:
    """The answer to one request."""
    async with serving(handler) as port, connected(port) as (reader, writer):
        writer.write(request(target, method, headers))
        return await asyncio.wait_for(received(reader, method), PATIENCE)


def ask(
    handler: Callable[[Exchange], object],
    target: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Got:
    """The answer to one request, in an event loop of its own."""
    return asyncio.run(got(handler, target, method, headers))
