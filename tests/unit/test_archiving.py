"""What is in an archive, which links are followed for it, and how it breaks off."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import Missing, Refused
from gobbler.service import contents
from gobbler.service.archiving import Archiving, Wanted, wanted
from gobbler.service.contents import Contents, Links
from gobbler.service.files import Files
from gobbler.service.tarring import END, directory_header, file_header, link_header, padding

VERSION = "p/a/1"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A registry, a whitelisted directory and a secret one, side by side."""
    for path in ("registry/p/a/1/d/f", "registry/p/a/0/old", "archive/d/f", "secret/f"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"content of {path}")
    version = tmp_path / "registry" / VERSION
    (version / "!first").write_text("")
    (version / "..manifest").write_text("{}")
    (version / "empty").mkdir()
    (tmp_path / "registry/p/..usage").write_text("{}")
    (tmp_path / "registry/..incoming/j").mkdir(parents=True)
    (tmp_path / "registry/..incoming/j/f").write_text("unfinished")
    return tmp_path


@pytest.fixture
def files(top: Path) -> Iterator[Files]:
    found = Files(f"{top}/registry", (f"{top}/archive",))
    yield found
    os.close(found.directory)


def packed(files: Files, links: Links = Links.FILES, max_size: int | None = None) -> bytes:
    made = Contents(files, VERSION, links, max_size, lambda: None)
    before = len(os.listdir("/proc/self/fd"))
    try:
        length = made.measure()
        data = b"".join(made.blocks())
    finally:
        made.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(data) == length
    return data


def unpacked(data: bytes) -> dict[str, object]:
    """Content of files, ``None`` for directories, the text of links after an arrow."""
    found: dict[str, object] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname) == (0, 0, "")
            file = archive.extractfile(member) if member.isfile() else None
            content = None if file is None else file.read().decode()
            found[member.name] = f"-> {member.linkname}" if member.issym() else content
    return found


PLAIN = {
    "p/a/1": None,
    "p/a/1/..manifest": "{}",
    "p/a/1/!first": "",
    "p/a/1/d": None,
    "p/a/1/d/f": "content of registry/p/a/1/d/f",
    "p/a/1/empty": None,
}


def test_everything_is_in_it_and_the_records_come_first(files: Files) -> None:
    found = unpacked(packed(files))
    assert found == PLAIN
    assert list(found)[:3] == ["p/a/1", "p/a/1/..manifest", "p/a/1/!first"]


def link(top: Path, to: str, name: str = "link") -> None:
    (top / "registry" / VERSION / name).symlink_to(to.format(top=top))


@pytest.mark.parametrize(
    ("to", "content", "text"),
    [
        ("d/f", "content of registry/p/a/1/d/f", "-> d/f"),
        ("../0/old", "content of registry/p/a/0/old", "-> ../0/old"),
        ("{top}/registry/p/a/0/old", "content of registry/p/a/0/old", "-> ../0/old"),
        ("{top}/archive/d/f", "content of archive/d/f", "content of archive/d/f"),
    ],
)
def test_links_are_files_or_links(
    files: Files, top: Path, to: str, content: str, text: str
) -> None:
    link(top, to)
    assert unpacked(packed(files)) == {**PLAIN, "p/a/1/link": content}
    assert unpacked(packed(files, Links.LINKS)) == {**PLAIN, "p/a/1/link": text}


@pytest.mark.parametrize("links", Links)
@pytest.mark.parametrize(
    "to",
    [
        "{top}/secret/f",
        "../../../../secret/f",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "/",
        "d",
        "nothing",
        "link",
        "../../..usage",
        "{top}/registry/..incoming/j/f",
        "{top}/archive",
        "{top}/archive/d",
        "{top}/archive/out",
        "{top}/archive/../secret/f",
    ],
)
def test_what_fetch_would_not_serve_is_told_before_anything_is_sent(
    files: Files, top: Path, to: str, links: Links
) -> None:
    (top / "archive/out").symlink_to(top / "secret/f")
    link(top, to)
    with pytest.raises(Missing) as caught:
        packed(files, links)
    assert "p/a/1/link" in caught.value.reason
    assert "secret" not in caught.value.reason


def test_a_fifo_blocks_nothing(files: Files, top: Path) -> None:
    os.mkfifo(top / "registry/p/a/1/fifo")
    with pytest.raises(Missing, match=r"p/a/1/fifo.* is a FIFO"):
        packed(files)
    (top / "registry/p/a/1/fifo").unlink()
    os.mkfifo(top / "archive/fifo")
    link(top, "{top}/archive/fifo")
    with pytest.raises(Missing, match="FIFO"):
        packed(files)


def test_directories_that_are_links_are_not_entered(files: Files, top: Path) -> None:
    for name in ("p/linked", "p/a/2"):
        (top / "registry" / name).symlink_to(top / "secret")
        with pytest.raises(Missing):
            Contents(files, name, Links.FILES, None, lambda: None).measure()


def test_large_files_are_left_out_on_request(files: Files, top: Path) -> None:
    link(top, "../0/old")
    found = unpacked(packed(files, max_size=2))
    assert found == {k: v for k, v in PLAIN.items() if v is None or len(v) <= 2}


def test_a_file_larger_than_a_part(files: Files, top: Path) -> None:
    for size in (contents.PART - 1, contents.PART, contents.PART * 2 + 100):
        (top / "registry/p/a/1/large").write_bytes(b"x" * size)
        assert unpacked(packed(files)) == {**PLAIN, "p/a/1/large": "x" * size}


def test_many_files_are_sent_in_few_parts(files: Files, top: Path) -> None:
    for i in range(1500):
        (top / f"registry/p/a/1/d/{i}").write_bytes(b"x" * 2000)
    made = Contents(files, VERSION, Links.FILES, None, lambda: None)
    made.measure()
    blocks = list(made.blocks())
    made.close()
    assert len(blocks) < 8
    assert max(len(block) for block in blocks) < 4 * contents.PART


def gone(version: Path) -> None:
    version.rename(version.with_name("..gone"))


def without_a_file(version: Path) -> None:
    (version / "d/f").unlink()


def longer(version: Path) -> None:
    (version / "d/f").write_text("x" * 5000)


def shorter(version: Path) -> None:
    (version / "d/f").write_text("")


def other_content_of_a_directory(version: Path) -> None:
    (version / "d/new").write_text("")


def another_version(version: Path) -> None:
    gone(version)
    (version / "d").mkdir(parents=True)
    (version / "empty").mkdir()
    for name in ("..manifest", "!first", "d/f"):
        (version / name).write_bytes((version.with_name("..gone") / name).read_bytes())


CHANGES = (gone, without_a_file, longer, shorter, other_content_of_a_directory, another_version)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("parts", [0, 1])
def test_a_version_that_changes_has_no_whole_archive(
    files: Files, top: Path, change: Any, parts: int
) -> None:
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 2 * contents.PART)
    made = Contents(files, VERSION, Links.FILES, None, lambda: None)
    length = made.measure()
    blocks = made.blocks()
    got = b"".join(next(blocks) for _ in range(parts))
    change(top / "registry" / VERSION)
    try:
        for block in blocks:
            got += block
    except (Missing, contents.Fault):
        pass
    else:
        pytest.fail("an archive that looks whole")
    made.close()
    assert len(got) < length


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(NAMES | st.text("ab/", min_size=80, max_size=300), min_size=1, max_size=3),
    st.sampled_from([0, 1, 511, 512, 8**11 - 1, 8**11, 2**60]),
    st.sampled_from([0, 1_700_000_000, -5, 2**40]),
)
def test_headers_are_read_back(names: list[str], size: int, modified: int) -> None:
    name = "/".join(part.strip("/") or "x" for part in names)
    header = file_header(name, size, modified)
    assert len(header) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(header + END)) as archive:
        member = archive.firstmember
    assert (member.name, member.size, member.mtime) == (name, size, modified)
    assert (member.isreg(), member.mode) == (True, 0o644)


def test_odd_headers() -> None:
    odd = "p/a/1/" + os.fsdecode(b"\xff\xfe") + "x" * 200
    data = file_header(odd, 3, 1) + b"abc" + bytes(padding(3))
    data += directory_header("p/é", 1) + link_header("p/l", "../" + "y" * 300, 1) + END
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        file, directory, link = archive.getmembers()
        assert (file.name, file.size) == (odd, 3)
        assert (directory.name, directory.isdir(), directory.mode) == ("p/é", True, 0o755)
        assert (link.name, link.linkname) == ("p/l", "../" + "y" * 300)


def test_what_is_asked_for() -> None:
    assert wanted("p/a/1.tar", {}) == Wanted("p/a/1", Links.FILES, None)
    query = {"links": "links", "max_size": "10", "new": "1"}
    assert wanted("p/a/1.2.tar/d.tar", query) == Wanted("p/a/1.2.tar/d", Links.LINKS, 10)


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
    ],
)
def test_what_can_not_be_asked_for(path: str, query: dict[str, str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        wanted(path, query)


def test_what_is_being_built_is_not_there() -> None:
    with pytest.raises(Missing):
        wanted("..incoming/j/tree.tar", {})


class Client:
    """Answers of an :class:`Archiving`, to one who may go away after some messages."""

    def __init__(self, files: Files, threads: ThreadPoolExecutor) -> None:
        self.endpoint = Archiving(files, "/archive/", threads)
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
def client(files: Files) -> Iterator[Client]:
    with ThreadPoolExecutor(2) as threads:
        yield Client(files, threads)


def test_the_answer(client: Client) -> None:
    assert client.ask("p/a/1.tar") == 200
    assert unpacked(client.body) == PLAIN
    assert client.headers["content-type"] == "application/x-tar"
    assert client.headers["content-length"] == str(len(client.body))
    assert client.ended


@pytest.mark.parametrize("size", [1, 2 * contents.PART, 2 * contents.PART + 1])
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


@pytest.mark.parametrize("change", [gone, without_a_file, other_content_of_a_directory])
def test_what_changes_after_all_was_read_is_noticed(files: Files, top: Path, change: Any) -> None:
    made = Contents(files, VERSION, Links.FILES, None, lambda: None)
    length = made.measure()
    blocks = made.blocks()
    got = 0
    while got < length - len(END):
        got += len(next(blocks))
    change(top / "registry" / VERSION)
    with pytest.raises((Missing, contents.Fault)):
        next(blocks)
    made.close()


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
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 3 * contents.PART)
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
    (top / "registry/p/a/1/!first").write_bytes(b"x" * 5 * contents.PART)
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
    real = Contents._length_of

    def slow(self: Contents, member: str, entry: os.DirEntry[str]) -> int:
        seen.append(member)
        if len(seen) == 2:
            begun.set()
            stopping.wait(30)
        return real(self, member, entry)

    stopping = threading.Event()
    monkeypatch.setattr(Contents, "_length_of", slow)

    async def receive() -> Any:
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        asyncio.get_running_loop().call_later(0.1, stopping.set)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "raw_path": b"/archive/p/a/1.tar"}
    asyncio.run(client.endpoint({**scope, "query_string": b""}, receive, send))
    assert len(seen) == 2
