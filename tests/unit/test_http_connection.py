"""Connections: what a client may send, and what it gets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from gobbler.errors import GobblerError
from gobbler.service.app import respond
from gobbler.service.http import connection as connections
from gobbler.service.http import server as servers
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange
from gobbler.service.http.server import HttpServer

from .asking import PATIENCE, Got, ask, connected, received, request, routed, serving

LARGE = 1 << 20


def echo(exchange: Exchange) -> None:
    """Answer with what was asked."""
    body = f"{exchange.method} {exchange.path} {exchange.query.decode()}".encode()
    exchange.answer(Answer(200, lines({"content-type": "text/plain"}), body))


async def later(exchange: Exchange) -> None:
    """The same in a task."""
    await asyncio.sleep(0)
    echo(exchange)


async def large(exchange: Exchange) -> None:
    """Answer with a large body whose size is announced."""
    exchange.begin(200, b"", 20 * LARGE)
    for _ in range(20):
        await exchange.send(b"x" * LARGE)
    exchange.end()


async def stream(exchange: Exchange) -> None:
    """Answer with parts, of which nobody knows how many there are."""
    exchange.begin(200, b"", None)
    for part in (b"a", b"", b"bc" * 100_000, b"d"):
        await exchange.send(part)
    exchange.end()


STREAMED = b"a" + b"bc" * 100_000 + b"d"


def talk(
    sent: bytes, count: int, handler: Callable[[Exchange], object] = echo, method: str = "GET"
) -> tuple[list[Got], bytes]:
    """Send bytes; the first ``count`` answers, and what follows up to the end."""

    async def run() -> tuple[list[Got], bytes]:
        async with serving(handler) as port, connected(port) as (reader, writer):
            writer.write(sent)
            answers = [await received(reader, method) for _ in range(count)]
            writer.write_eof()
            return answers, await reader.read()

    return asyncio.run(asyncio.wait_for(run(), PATIENCE))


@pytest.mark.parametrize("handler", [echo, routed(later)])
def test_requests_of_one_connection_are_answered_in_order(
    handler: Callable[[Exchange], object],
) -> None:
    sent = b"".join(request(f"/{number}?q={number}") for number in range(50))
    answers, rest = talk(sent, 50, handler)
    assert [answer.body for answer in answers] == [
        b"GET /%d q=%d" % (number, number) for number in range(50)
    ]
    assert all("connection" not in answer.headers for answer in answers)
    assert rest == b""


def test_requests_that_come_byte_by_byte_are_understood() -> None:
    async def run() -> list[bytes]:
        async with serving(echo) as port, connected(port) as (reader, writer):
            for byte in request("/a%20b?c", headers={"x": "y"}) + request("/d"):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            return [(await received(reader)).body for _ in range(2)]

    assert asyncio.run(asyncio.wait_for(run(), PATIENCE)) == [b"GET /a b c", b"GET /d "]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://host:80/a?b", "/a b"),
        ("http://host", "/ "),
        ("*", "* "),
        ("/%e4%b8%ad", "/中 "),
        ("/%ff", "/\ufffd "),
        ("//a", "//a "),
    ],
)
def test_a_target_in_any_form_is_a_path(target: str, path: str) -> None:
    assert ask(echo, target).body.decode() == f"GET {path}"


def test_http_1_0_ends_with_the_answer_unless_the_client_wants_more() -> None:
    (answer,), rest = talk(request("/a", version="1.0") + request("/b", version="1.0"), 1)
    assert (answer.headers["connection"], rest) == ("close", b"")
    keep = {"connection": "keep-alive"}
    answers, _ = talk(request("/a", headers=keep, version="1.0") * 2, 2)
    assert [answer.headers["connection"] for answer in answers] == ["keep-alive"] * 2


def test_who_asks_for_the_end_of_the_connection_gets_it() -> None:
    (answer,), rest = talk(request("/a", headers={"connection": "close"}) + request("/b"), 1)
    assert (answer.headers["connection"], rest) == ("close", b"")


def test_a_stream_is_chunked_or_ends_with_the_connection() -> None:
    (new,), _ = talk(request("/"), 1, routed(stream))
    assert (new.headers["transfer-encoding"], new.body) == ("chunked", STREAMED)
    (old,), rest = talk(request("/", version="1.0"), 1, routed(stream))
    assert "transfer-encoding" not in old.headers
    assert (old.headers["connection"], old.body, rest) == ("close", STREAMED, b"")


@pytest.mark.parametrize("route", [later, stream])
def test_head_has_no_body(route: Callable[[Exchange], Any]) -> None:
    answers, rest = talk(request("/", "HEAD") * 2, 2, routed(route), "HEAD")
    assert [answer.status for answer in answers] == [200, 200]
    assert rest == b""


def test_an_answer_without_a_body_has_no_length() -> None:
    for status in (204, 304):
        answer = ask(lambda exchange, status=status: exchange.answer(Answer(status, b"")), "/")
        assert (answer.status, "content-length" in answer.headers) == (status, False)


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 300000\r\n\r\n" + b"x" * 300_000,
        b"transfer-encoding: chunked\r\n\r\n" + b"3;a=b\r\nabc\r\n" * 50_000 + b"0\r\nt: u\r\n\r\n",
    ],
)
@pytest.mark.parametrize("handler", [echo, routed(later)])
def test_a_body_is_dropped(body: bytes, handler: Callable[[Exchange], object]) -> None:
    sent = b"POST /a HTTP/1.1\r\nhost: x\r\n" + body + request("/b")
    answers, _ = talk(sent, 2, handler)
    assert [answer.body for answer in answers] == [b"POST /a ", b"GET /b "]


def test_who_waits_before_a_body_gets_the_answer_and_the_end() -> None:
    sent = request("/", "POST", {"expect": "100-continue", "content-length": "5"})
    (answer,), rest = talk(sent, 1)
    assert (answer.status, answer.headers["connection"], rest) == (200, "close", b"")


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_an_upgrade_is_not_taken_up(protocol: str) -> None:
    asking = request("/", headers={"connection": "upgrade", "upgrade": protocol})
    answers, _ = talk(asking * 2 + request("/b"), 3)
    assert [answer.status for answer in answers] == [200] * 3


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n\x00",
        b"FROB / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_after_the_requests_before_it(sent: bytes) -> None:
    answers, rest = talk(request("/a") + sent + request("/c"), 2, routed(later))
    assert answers[0].body == b"GET /a "
    assert (answers[1].status, answers[1].headers["connection"]) == (400, "close")
    assert json.loads(answers[1].body)["code"] == "invalid-request"
    assert rest == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 300_000,
        b"GET / HTTP/1.1\r\nx: " + b"y" * 300_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"y" * 300_000,
    ],
)
def test_an_endless_head_is_refused(sent: bytes) -> None:
    (answer,), rest = talk(sent, 1)
    assert (answer.status, answer.headers["connection"], rest) == (431, "close", b"")


@pytest.mark.parametrize("tail", [b"t: " + b"u" * 400_000, b"t: u\r\n" * 60_000])
def test_endless_trailers_end_the_connection(tail: bytes) -> None:
    sent = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + tail
    answers, _ = talk(sent, 2)
    assert [answer.status for answer in answers] == [200, 431]


def test_who_sends_thousands_of_requests_at_once_gets_a_part_answered() -> None:
    answers, rest = talk(request("/") * 3000, 20, routed(later))
    assert [answer.status for answer in answers] == [200] * 20
    assert b"431" in rest


def test_no_answer_is_begun_while_the_client_takes_nothing() -> None:
    asked: list[Exchange] = []
    body = b"x" * LARGE

    def handle(exchange: Exchange) -> None:
        asked.append(exchange)
        exchange.answer(Answer(200, b"", body))

    async def run() -> None:
        async with serving(handle) as port, connected(port) as (reader, writer):
            writer.write(request("/") * 40)
            await writer.drain()
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(asked) < 30  # what fits into the buffers of the kernel, and one
            answers = [await received(reader) for _ in range(40)]
            assert [answer.body == body for answer in answers] == [True] * 40

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_a_client_that_leaves_cancels_the_task_or_is_reported() -> None:
    left: list[str] = []

    async def waiting(exchange: Exchange) -> None:
        if exchange.path == "/told":
            gone = asyncio.Event()
            exchange.when_gone(gone.set)
            await gone.wait()
            left.append("told")
            return
        try:
            await asyncio.Event().wait()
        finally:
            left.append("cancelled")

    async def run() -> None:
        tasks = []

        def handle(exchange: Exchange) -> None:
            respond(exchange, waiting)
            tasks.append(exchange.task)

        async with serving(handle) as port:
            for path in ("/told", "/other"):
                async with connected(port) as (_, writer):
                    writer.write(request(path))
                    while not tasks:
                        await asyncio.sleep(0.001)
                await asyncio.wait({tasks.pop()})

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
    assert left == ["told", "cancelled"]


def test_an_answer_that_fails_half_way_is_incomplete() -> None:
    async def failing(exchange: Exchange) -> None:
        exchange.begin(200, b"", 10)
        await exchange.send(b"12345")
        raise GobblerError("no more")

    async def short(exchange: Exchange) -> None:
        exchange.begin(200, b"", 10)
        await exchange.send(b"12345")
        exchange.end()

    for route in (failing, short):
        assert not ask(routed(route), "/").is_whole


def test_what_fails_is_answered() -> None:
    def fails(exchange: Exchange) -> None:
        raise ZeroDivisionError

    async def fails_later(exchange: Exchange) -> None:
        raise ZeroDivisionError

    for route in (fails, fails_later):
        answer = ask(routed(route), "/")
        assert (answer.status, json.loads(answer.body)["status"]) == (500, "ERROR")


def test_who_does_not_ask_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_WITHIN", "BODY_WITHIN", "IDLE_AFTER"):
        monkeypatch.setattr(connections, name, 0.01)
    monkeypatch.setattr(servers, "WATCH_INTERVAL", 0.01)

    async def run(sent: bytes, count: int) -> None:
        async with serving(echo) as port, connected(port) as (reader, writer):
            writer.write(sent)
            for _ in range(count):
                assert (await received(reader)).status == 200
            assert await reader.read() == b""

    for sent, count in (
        (b"", 0),
        (b"GET / HT", 0),
        (request("/"), 1),
        (request("/") + b"GET /", 1),
        (request("/", headers={"content-length": "10"}), 1),
    ):
        asyncio.run(asyncio.wait_for(run(sent, count), PATIENCE))


def test_who_takes_nothing_of_an_answer_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_AFTER", 0.01)
    monkeypatch.setattr(servers, "WATCH_INTERVAL", 0.01)

    begun: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        begun.append(exchange)
        exchange.answer(Answer(200, b"", b"x" * 20 * LARGE))

    async def run() -> None:
        async with serving(handle) as port:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request("/"))
                while not begun or not begun[0]._connection.is_lost:
                    await asyncio.sleep(0.001)
                size = 0
                with suppress(ConnectionError):
                    while found := client.recv(LARGE):
                        size += len(found)
                assert size < 20 * LARGE

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


@pytest.mark.parametrize("size", [5, 20 * LARGE])
def test_a_thread_answers_itself(size: int) -> None:
    body = b"x" * size

    def handle(exchange: Exchange) -> None:
        answer = Answer(200, b"", body)
        threading.Thread(target=exchange.answer_in_thread, args=(answer,)).start()

    answers, rest = talk(request("/") * 3, 3, handle)
    assert [answer.body == body for answer in answers] == [True] * 3
    assert rest == b""
    (answer,), rest = talk(request("/", headers={"connection": "close"}) * 2, 1, handle)
    assert (answer.headers["connection"], rest) == ("close", b"")


def test_a_thread_that_answers_a_client_that_left_writes_to_nobody_else() -> None:
    async def run() -> None:
        begun: list[Exchange] = []
        async with serving(begun.append) as port:
            async with connected(port) as (_, writer):
                writer.write(request("/"))
                while not begun:
                    await asyncio.sleep(0.001)
            while not begun[0].is_complete:
                await asyncio.sleep(0.001)
            async with connected(port) as (reader, writer):  # it may get the same descriptor
                writer.write(request("/"))
                while len(begun) < 2:
                    await asyncio.sleep(0.001)
                begun[0].answer_in_thread(Answer(200, b"", b"for another"))
                await asyncio.sleep(0.01)
                begun[1].answer(Answer(200, b"", b"its own"))
                assert (await received(reader)).body == b"its own"

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_a_server_that_finishes_ends_what_runs_first() -> None:
    async def run() -> None:
        go_on = asyncio.Event()

        async def waiting(exchange: Exchange) -> None:
            await go_on.wait()
            echo(exchange)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            server = HttpServer(listener, routed(waiting))
            server.open()
            port = listener.getsockname()[1]
            async with connected(port) as (idle, _), connected(port) as (reader, writer):
                writer.write(request("/"))
                while len(server._connections) < 2 or all(c.is_idle for c in server._connections):
                    await asyncio.sleep(0.001)
                finishing = asyncio.create_task(server.finish())
                assert await idle.read() == b""
                assert not finishing.done()
                go_on.set()
                answer = await received(reader)
                assert (answer.status, answer.headers["connection"]) == (200, "close")
                assert await reader.read() == b""
                await finishing

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_more_connections_than_the_process_keeps_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MAX_CONNECTIONS", 2)

    async def run() -> None:
        async with (
            serving(echo) as port,
            connected(port) as (reader, writer),
            connected(port) as (other, asking),
        ):
            asking.write(request("/"))
            await received(other)
            async with connected(port) as (third, waiting):
                waiting.write(request("/third"))
                writer.write(request("/first"))
                assert (await received(reader)).body == b"GET /first "
                asking.close()
                assert (await received(third)).body == b"GET /third "

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0"])
def test_no_header_starts_another_one(value: str) -> None:
    with pytest.raises(ValueError, match="can't be sent"):
        lines({"x": value})


def test_a_large_answer_arrives_whole() -> None:
    assert ask(routed(large), "/").body == b"x" * 20 * LARGE
