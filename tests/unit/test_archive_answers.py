"""Requests for archives and their answers, also for clients that disconnect."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gobbler.errors import Missing, Refused
from gobbler.service import archive
from gobbler.service.archive import ArchiveContents, LinkMode
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
    """Answers of an :class:`ArchiveRoute`, to one who may go away after some messages."""

    def __init__(self, files: RegistryFiles, threads: ThreadPoolExecutor) -> None:
        self.endpoint = ArchiveRoute(files, "/archive/", Transfers())
        self.sent: list[Any] = []

    def ask(self, path: str, method: str = "GET", query: str = "", stay: int | None = None) -> int:
        asyncio.run(self._ask(path, method, query, stay))
        status: int = self.sent[0]["status"] if self.sent else 0
        return status

    async def _ask(self, path: str, method: str, query: str, stay: int | None) -> None:
        left = asyncio.Event()

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(message)
            if stay is not None and len(self.sent) > stay:
                left.set()
                await asyncio.Event().wait()  # as the server does when nobody reads

        scope = {
            "type": "http",
            "method": method,
            "raw_path": f"/archive/{path}".encode(),
            "query_string": query.encode(),
        }
        await asyncio.wait_for(self.endpoint(scope, receive, send), 30)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return not self.sent[-1].get("more_body", False)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


@pytest.fixture
def client(files: RegistryFiles) -> Iterator[Client]:
    with ThreadPoolExecutor(2) as threads:
        yield Client(files, threads)


def test_the_answer(client: Client) -> None:
    assert client.ask("p/a/1.tar") == 200
    assert unpacked(client.body) == PLAIN
    assert client.headers["content-type"] == "application/x-tar"
    assert client.headers["content-length"] == str(len(client.body))
    assert client.ended


def test_the_length_need_not_be_announced(client: Client) -> None:
    assert client.ask("p/a/1.tar", query="length=true") == 200
    whole = client.body
    client.sent.clear()
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
    assert all(message.get("body") for message in client.sent[1:-1])
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
    assert b'"reason"' in client.body


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


@pytest.mark.parametrize("stay", [0, 1, 2])
def test_who_goes_away_leaves_nothing_open(client: Client, top: Path, stay: int) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 5 * archive.READ_SIZE)
    before = len(os.listdir("/proc/self/fd"))
    client.ask("p/a/1.tar", stay=stay)
    assert not any(message.get("more_body") is False for message in client.sent)
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

    async def receive() -> Any:
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        asyncio.get_running_loop().call_later(0.1, stopping.set)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "raw_path": b"/archive/p/a/1.tar"}
    asyncio.run(client.endpoint({**scope, "query_string": b""}, receive, send))
    assert len(seen) == 2
