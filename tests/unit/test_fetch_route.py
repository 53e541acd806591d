"""Which links ``/fetch`` follows (protocol, section 8 and section 9, number 12)."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from gobbler.errors import Missing
from gobbler.fs.open import cached_opener, closing
from gobbler.service.app import respond
from gobbler.service.http.exchange import Exchange
from gobbler.service.registry_files import MAX_HOPS, READ_SIZE, RegistryFiles
from gobbler.service.routes.fetch import FetchRoute
from gobbler.service.transfers import Transfers

from .asking import ask, connected, request, routed, serving


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A registry, a whitelisted directory and a secret one, side by side."""
    for path in ("registry/p/a/1/d/f", "archive/d/f", "secret/f", "registry/p/..usage"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"content of {path}")
    (tmp_path / "registry/..incoming/j").mkdir(parents=True)
    (tmp_path / "registry/..incoming/j/f").write_text("unfinished")
    return tmp_path


@pytest.fixture
def fetch(top: Path) -> Iterator[FetchRoute]:
    files = RegistryFiles(f"{top}/registry", (f"{top}/archive",))
    yield FetchRoute(files, "/fetch/", ThreadPoolExecutor(1), Transfers())
    os.close(files.directory)


def link(top: Path, to: str, name: str = "link") -> str:
    """Make a link to ``to``, in which ``{top}`` stands for the directory; its path."""
    (top / "registry/p/a/1" / name).symlink_to(to.format(top=top))
    return f"p/a/1/{name}"


def content(fetch: FetchRoute, path: str) -> str:
    with closing(fetch._files.open(path).descriptor) as descriptor:
        return os.read(descriptor, 1000).decode()


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("d/f", "registry/p/a/1/d/f"),
        ("../1/d/f", "registry/p/a/1/d/f"),
        ("../../../p/a/1/d/f", "registry/p/a/1/d/f"),
        ("{top}/registry/p/a/1/d/f", "registry/p/a/1/d/f"),
        ("{top}/archive/d/f", "archive/d/f"),
        ("{top}/secret/../archive/d/f", "archive/d/f"),
        ("../../../../archive/d/f", "archive/d/f"),
    ],
)
def test_links_to_files_of_the_registry_and_the_whitelist_are_followed(
    fetch: FetchRoute, top: Path, to: str, expected: str
) -> None:
    assert content(fetch, link(top, to)) == f"content of {expected}"


@pytest.mark.parametrize(
    "to",
    [
        "{top}/secret/f",
        "../../../../secret/f",
        "/etc/passwd",
        "/",
        "..",
        ".",
        "d",
        "nothing",
        "{top}/archive",
        "{top}/archive/d",
        "{top}/archive2/f",
        "{top}/archive/../secret/f",
        "../../..usage",
        "{top}/registry/..incoming/j/f",
        "{top}/registry",
        "link",
        "d/f/x",
        "{top}/archive/absent",
        "/proc/self/environ",
        "/dev/zero",
    ],
)
def test_links_to_anything_else_are_not(fetch: FetchRoute, top: Path, to: str) -> None:
    path = link(top, to)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Missing) as caught:
        fetch._files.open(path)
    assert "secret" not in caught.value.reason
    assert len(os.listdir("/proc/self/fd")) == before


def test_directories_on_the_way_that_are_links_are_not_followed(
    fetch: FetchRoute, top: Path
) -> None:
    for to in ("d", "{top}/secret", "{top}/archive"):
        link(top, to)
        with pytest.raises(Missing):
            fetch._files.open("p/a/1/link/f")
        (top / "registry/p/a/1/link").unlink()


@pytest.mark.parametrize("inside", ["f", "d/f"])
def test_links_below_a_whitelisted_directory_are_not_followed(
    fetch: FetchRoute, top: Path, inside: str
) -> None:
    path = link(top, f"{{top}}/archive/x/{inside}")
    (top / "archive/x").mkdir()
    (top / "archive/x/f").symlink_to(top / "secret/f")
    (top / "archive/x/d").symlink_to(top / "secret")
    with pytest.raises(Missing):
        fetch._files.open(path)


def test_a_chain_of_links_is_followed_to_a_limit(fetch: FetchRoute, top: Path) -> None:
    link(top, "d/f", "l0")
    for i in range(1, MAX_HOPS + 2):
        link(top, f"l{i - 1}", f"l{i}")
    assert content(fetch, f"p/a/1/l{MAX_HOPS - 2}") == "content of registry/p/a/1/d/f"
    with pytest.raises(Missing):
        fetch._files.open(f"p/a/1/l{MAX_HOPS + 1}")


@pytest.mark.parametrize("path", ["", "p", "p/a/1/d", "p/x", "p/..usage/x", "x" * 300])
def test_what_is_no_file_is_missing(fetch: FetchRoute, path: str) -> None:
    with pytest.raises(Missing):
        fetch._files.open(path)


def test_a_fifo_is_missing_and_blocks_nothing(fetch: FetchRoute, top: Path) -> None:
    os.mkfifo(top / "registry/p/fifo")
    with pytest.raises(Missing, match="FIFO"):
        fetch._files.open("p/fifo")


def test_internal_files_are_served_but_nothing_unfinished(fetch: FetchRoute) -> None:
    assert content(fetch, "p/..usage") == "content of registry/p/..usage"
    assert answer(fetch, "/fetch/..incoming/j/f")[0] == 404


def answer(
    fetch: FetchRoute, target: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(routed(fetch), target, method, named)[:3]


def test_headers_report_kind_size_and_validators(fetch: FetchRoute) -> None:
    status, headers, body = answer(fetch, "/fetch/p/a/1/d/f")
    assert (status, body) == (200, b"content of registry/p/a/1/d/f")
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert answer(fetch, "/fetch/p/a/1/d/f", if_none_match=headers["etag"])[0] == 304
    assert answer(fetch, "/fetch/p/..usage")[1]["content-type"] == "application/json"


def test_a_range_is_sent_with_its_place(fetch: FetchRoute) -> None:
    status, headers, body = answer(fetch, "/fetch/p/a/1/d/f", range="bytes=0-6")
    assert (status, body, headers["content-range"]) == (206, b"content", "bytes 0-6/29")
    status, headers, body = answer(fetch, "/fetch/p/a/1/d/f", range="bytes=29-")
    assert (status, headers["content-range"]) == (416, "bytes */29")
    assert json.loads(body)["code"] == "invalid-range"


def test_no_descriptor_stays_open_whatever_the_answer(fetch: FetchRoute) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for target in ("p/a/1/d/f", "p", "x", "%ff", "..", "%2e%2e/x", "p%00"):
        for method in ("GET", "HEAD"):
            status, _, body = answer(fetch, f"/fetch/{target}", method)
            assert status in (200, 400, 404)
            assert body == b"" or method == "GET" or status != 200
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_large_file_is_sent_in_parts(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(READ_SIZE * 2 + 100)
    (top / "registry/p/large").write_bytes(data)
    status, headers, body = answer(fetch, "/fetch/p/large")
    assert (status, headers["content-length"]) == (200, str(len(data)))
    assert body == data
    assert answer(fetch, "/fetch/p/large", range=f"bytes={READ_SIZE}-")[2] == data[READ_SIZE:]


def test_an_answer_breaks_off_if_its_file_becomes_shorter(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = top / "registry/p/large"
    file.write_bytes(b"x" * (4 * READ_SIZE))
    real = os.sendfile

    def shortening(out: int, source: int, offset: int, count: int) -> int:
        if offset:
            os.truncate(file, offset)
        return real(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", shortening)
    got = ask(routed(fetch), "/fetch/p/large")
    assert got.status == 200
    assert not got.is_whole
    assert len(got.body) < 4 * READ_SIZE


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_a_file_of_a_filesystem_that_sends_none_is_read(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    data = os.urandom(READ_SIZE * 3 + 17)
    (top / "registry/p/large").write_bytes(data)

    def refused(*call: object) -> int:
        raise OSError(number, "as some do")

    monkeypatch.setattr(os, "sendfile", refused)
    assert answer(fetch, "/fetch/p/large")[2] == data


def test_a_file_is_sent_as_it_was_opened_whatever_takes_its_path(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(READ_SIZE * 3)
    file = top / "registry/p/large"
    file.write_bytes(data)
    real = os.sendfile

    def replacing(out: int, source: int, offset: int, count: int) -> int:
        file.unlink(missing_ok=True)
        file.symlink_to(top / "secret/f")
        return real(out, source, offset, min(count, 100_000))

    monkeypatch.setattr(os, "sendfile", replacing)
    assert answer(fetch, "/fetch/p/large")[2] == data


class Hanging:
    """An open that hangs, as on a mount whose server is gone, until it is released."""

    def __init__(self, files: RegistryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)
        self._real = files.open
        monkeypatch.setattr(files, "open_cached", lambda path: None)
        monkeypatch.setattr(files, "open", self.open)

    def open(self, path: str) -> int:
        self.entered.release()
        assert self.release.wait(30)
        return self._real(path)


def test_the_event_loop_goes_on_while_every_reading_thread_hangs(
    top: Path, fetch: FetchRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that disconnects meanwhile leaves no file open."""
    hanging = Hanging(fetch._files, monkeypatch)
    begun: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        begun.append(exchange)
        respond(exchange, fetch)

    async def run() -> None:
        async with serving(handle) as port, AsyncExitStack() as clients:
            for _ in range(3):
                _, writer = await clients.enter_async_context(connected(port))
                writer.write(request("/fetch/p/a/1/d/f"))
            while len(begun) < 3 or not hanging.entered.acquire(blocking=False):
                await asyncio.sleep(0.001)  # the loop goes on
            await clients.aclose()
            tasks = [exchange.task for exchange in begun if exchange.task is not None]
            assert len((await asyncio.wait(tasks, timeout=5))[0]) == 3

    asyncio.run(run())
    assert not any(exchange.has_begun for exchange in begun)
    hanging.release.set()
    fetch._threads.shutdown()  # waits for what it does
    assert f"{top}/registry/p/a/1/d/f" not in set(open_paths())


def open_paths() -> Iterator[str]:
    """The paths of all open files."""
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            yield os.readlink(f"/proc/self/fd/{descriptor}")


def test_a_file_is_not_closed_while_a_thread_sends_from_it(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "registry/p/large").write_bytes(b"x" * READ_SIZE * 3)
    sending, finish = threading.Event(), threading.Event()
    real, problems = os.sendfile, []

    def slow(out: int, source: int, offset: int, count: int) -> int:
        sending.set()
        assert finish.wait(30)
        try:
            os.fstat(out)
            os.fstat(source)
        except OSError as error:
            problems.append(error)
        return real(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", slow)

    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with serving(routed(fetch)) as port, connected(port) as (_, writer):
            writer.write(request("/fetch/p/large"))
            while not sending.is_set():
                await asyncio.sleep(0.001)
        assert f"{top}/registry/p/large" in set(open_paths())  # the thread still sends
        finish.set()
        for _ in range(30_000):  # the thread closes it after its last call
            if len(os.listdir("/proc/self/fd")) == before:
                break
            await asyncio.sleep(0.001)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())
    assert problems == []


def test_where_the_kernel_can_not_say_what_it_has_in_memory_it_is_asked_once(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refused(*call: object) -> None:
        asked.append(call)
        raise OSError(errno.EOPNOTSUPP, "as on tmpfs")

    monkeypatch.setattr(fetch, "_read_cached", refused)
    monkeypatch.setattr(fetch._files, "_open_cached", cached_opener())
    if fetch._files._open_cached is None:
        pytest.skip("this kernel opens nothing from its cache alone")
    for _ in range(3):
        assert answer(fetch, "/fetch/p/a/1/d/f")[2] == b"content of registry/p/a/1/d/f"
    assert len(asked) == 1


@pytest.mark.parametrize("cached", [True, False])
def test_answers_are_the_same_whether_the_kernel_has_a_file_in_its_cache(
    fetch: FetchRoute, top: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    link(top, "d/f")
    link(top, "{top}/archive/d/f", "white")
    if not cached:
        monkeypatch.setattr(fetch._files, "_open_cached", None)
        monkeypatch.setattr(fetch, "_read_cached", lambda *_: None)
    content = b"content of registry/p/a/1/d/f"
    for _ in range(2):
        assert answer(fetch, "/fetch/p/a/1/d/f")[2] == content
        assert answer(fetch, "/fetch/p/a/1/link")[2] == content
        assert answer(fetch, "/fetch/p/a/1/white")[2] == b"content of archive/d/f"
        assert answer(fetch, "/fetch/p/a/1/d/f", range="bytes=3-5")[2] == content[3:6]
        assert answer(fetch, "/fetch/p/a/1/d/f", method="HEAD")[2] == b""
        assert answer(fetch, "/fetch/p/a/1/absent")[0] == 404
