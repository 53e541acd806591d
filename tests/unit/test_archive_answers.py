"""Requests for archives and their answers, also for clients that disconnect."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gobbler.errors import Missing, Refused
from gobbler.service import archive
from gobbler.service.app import respond
from gobbler.service.archive import ArchiveContents, LinkMode
from gobbler.service.http.exchange import Exchange
from gobbler.service.registry_files import RegistryFiles
from gobbler.service.routes.archive import ArchiveRequest, ArchiveRoute, parse
from gobbler.service.transfers import Transfers

from .archived import (
    PLAIN,
    VERSION,
    files,
    gone,
    top,
    unpacked,
)
from .asking import Got, ask, connected, request, routed, serving

__all__ = ["files", "top"]


def test_what_is_asked_for() -> None:
    assert parse("p/a/1.tar", {}) == ArchiveRequest("p/a/1", LinkMode.FILES, None)
    query = {"links": "links", "max_size": "10", "new": "1"}
    assert parse("p/a/1.2.tar/d.tar", query) == ArchiveRequest("p/a/1.2.tar/d", LinkMode.LINKS, 10)
    assert parse("p/a/1.tar", {"length": "false"}).has_length is False


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("p/a/1", {}, "not the name of an archive"),
        ("p/a.tar", {}, "not the path of a version"),
        (".tar", {}, "not the path of a version"),
        ("..logs/a/1.tar", {}, "not the path of a version"),
        ("../a/b/c.tar", {}, "leaves the registry"),
        ("p/a/1.tar", {"links": "both"}, "links"),
        ("p/a/1.tar", {"max_size": "-1"}, "max_size"),
        ("p/a/1.tar", {"max_size": ""}, "max_size"),
        ("p/a/1.tar", {"max_size": "9" * 5000}, "max_size"),
        ("p/a/1.tar", {"max_size": "²"}, "max_size"),
        ("p/a/1.tar", {"length": "no"}, "length"),
    ],
)
def test_what_can_not_be_asked_for(path: str, query: dict[str, str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        parse(path, query)


def test_what_is_being_built_is_not_there() -> None:
    with pytest.raises(Missing):
        parse("..incoming/j/tree.tar", {})


class Client:
    """Answers of an :class:`ArchiveRoute`, to one who may go away after some bytes."""

    def __init__(self, files: RegistryFiles) -> None:
        self.endpoint = ArchiveRoute(files, "/archive/", Transfers())
        self.got = Got(0, {}, b"", is_whole=False)

    def ask(self, path: str, method: str = "GET", query: str = "") -> int:
        self.got = ask(routed(self.endpoint), f"/archive/{path}?{query}", method)
        return self.got.status

    def leave_after(self, size: int, path: str) -> None:
        """Ask for an archive, read ``size`` bytes of the answer, and go away."""
        asyncio.run(self._leave_after(size, path))

    async def _leave_after(self, size: int, path: str) -> None:
        begun: list[Exchange] = []

        def handle(exchange: Exchange) -> None:
            begun.append(exchange)
            respond(exchange, self.endpoint)

        async with serving(handle) as port:
            async with connected(port) as (reader, writer):
                writer.write(request(f"/archive/{path}"))
                await reader.readexactly(size)
                while not begun:
                    await asyncio.sleep(0.001)
            task = begun[0].task
            assert task is not None
            await asyncio.wait_for(asyncio.wait({task}), 30)

    @property
    def body(self) -> bytes:
        return self.got.body

    @property
    def ended(self) -> bool:
        return self.got.is_whole

    @property
    def headers(self) -> dict[str, str]:
        return self.got.headers


@pytest.fixture
def client(files: RegistryFiles) -> Client:
    return Client(files)


def test_the_answer(client: Client) -> None:
    assert client.ask("p/a/1.tar") == 200
    assert unpacked(client.body) == PLAIN
    assert client.headers["content-type"] == "application/x-tar"
    assert client.headers["content-length"] == str(len(client.body))
    assert client.ended


def test_the_length_need_not_be_announced(client: Client) -> None:
    assert client.ask("p/a/1.tar", query="length=true") == 200
    whole = client.body
    assert client.ask("p/a/1.tar", query="length=false") == 200
    assert client.body == whole
    assert "content-length" not in client.headers
    assert client.ended


@pytest.mark.parametrize("path", ["p/a/2.tar", "p/a/1/x.tar", "p/b/1.tar"])
def test_what_is_not_there_is_reported_even_so(client: Client, path: str) -> None:
    assert client.ask(path, query="length=false") == 404


@pytest.mark.parametrize("size", [1, 2 * archive.READ_SIZE, 2 * archive.READ_SIZE + 1])
@pytest.mark.parametrize("name", ["first", "d/last", "empty/last"])
def test_all_is_sent_wherever_a_large_file_is(
    client: Client, top: Path, name: str, size: int
) -> None:
    (top / "registry/p/a/1" / name).write_bytes(b"x" * size)
    assert client.ask("p/a/1.tar") == 200
    assert client.headers["content-length"] == str(len(client.body))
    found = unpacked(client.body)
    assert found == {**PLAIN, f"p/a/1/{name}": "x" * size}


def test_the_head_of_the_answer(client: Client) -> None:
    assert client.ask("p/a/1.tar", "HEAD") == 200
    assert int(client.headers["content-length"]) > 2000
    assert client.body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("p/a/9.tar", 404), ("p/a/1/d/f.tar", 404), ("p/a/1", 400), ("%ff/a/1.tar", 400)],
)
def test_refusals_are_json(client: Client, method: str, path: str, status: int) -> None:
    assert client.ask(path, method) == status
    assert client.headers["content-type"] == "application/json"
    assert method == "HEAD" or b'"reason"' in client.body


def test_an_archive_that_breaks_off_is_not_ended(
    client: Client, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 3 * archive.READ_SIZE)
    real, done = os.read, []

    def read(descriptor: int, count: int) -> bytes:
        if not done:
            done.append(gone(top / "registry" / VERSION))
        return real(descriptor, count)

    monkeypatch.setattr(os, "read", read)
    assert client.ask("p/a/1.tar") == 200
    assert not client.ended
    assert 0 < len(client.body) < int(client.headers["content-length"])


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_who_goes_away_leaves_nothing_open(client: Client, top: Path, size: int) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 20 * archive.READ_SIZE)
    before = len(os.listdir("/proc/self/fd"))
    client.leave_after(size, "p/a/1.tar")
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_goes_away_stops_the_look_at_what_there_is(
    client: Client, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(100):
        (top / f"registry/p/a/1/{i}").write_text("")
    begun, seen = threading.Event(), []
    real = ArchiveContents._length_of

    def slow(self: ArchiveContents, member: str, entry: os.DirEntry[str]) -> int:
        seen.append(member)
        if len(seen) == 2:
            begun.set()
            stopping.wait(30)
        return real(self, member, entry)

    stopping = threading.Event()
    monkeypatch.setattr(ArchiveContents, "_length_of", slow)

    async def run() -> None:
        async with serving(routed(client.endpoint)) as port:
            async with connected(port) as (_, writer):
                writer.write(request("/archive/p/a/1.tar"))
                await asyncio.get_running_loop().run_in_executor(None, begun.wait)
            await asyncio.sleep(0.1)
            stopping.set()

    asyncio.run(run())
    client.endpoint._threads.shutdown()  # waits for what it does
    assert len(seen) == 2
