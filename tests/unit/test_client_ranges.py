"""Parts of a file over HTTP: from one state of it, whole, and from services without ranges."""

from __future__ import annotations

import io
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gobbler.client.errors import NoAnswer
from gobbler.client.http import Http
from gobbler.client.ranges import FileChanged, Ranges, RangesFile
from gobbler.errors import Missing

DATA = os.urandom(100_000)


class ServiceContext:
    """A service that may know no ranges, break off, or have another file by now."""

    def __init__(self):
        self.content = DATA
        self.headers = {"ETag": '"one"'}
        self.knows_ranges = True
        self.breaks = 0
        self.asked = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                service.asked.append(self.headers)
                status, body, reported = service.answer(self.path, self.headers)
                self.send_response(status)
                for name, value in {**service.headers, **reported}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if status == 206 and service.breaks:
                    service.breaks -= 1
                    body = body[: len(body) // 2]
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.http = Http(f"http://127.0.0.1:{self.server.server_address[1]}")

    def answer(self, path, headers):
        if path != "/fetch/p/a/v/f%23":
            return 404, b"", {}
        if "If-Match" in headers and headers["If-Match"] != self.headers.get("ETag"):
            return 412, b"", {}
        since = headers.get("If-Unmodified-Since")
        if since is not None and since != self.headers.get("Last-Modified"):
            return 412, b"", {}
        if not self.knows_ranges:
            return 200, self.content, {}
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(self.content):
            return 416, b"", {"Content-Range": f"bytes */{len(self.content)}"}
        part = self.content[first : last + 1]
        reported = f"bytes {first}-{first + len(part) - 1}/{len(self.content)}"
        return 206, part, {"Content-Range": reported}


@pytest.fixture
def service():
    made = ServiceContext()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def outdated():
    return []


@pytest.fixture
def ranges(service, outdated, tmp_path):
    def whole():
        (tmp_path / "copy").write_bytes(service.content)
        return str(tmp_path / "copy")

    return Ranges(service.http, "p/a/v/f#", len(DATA), whole, lambda: outdated.append(1))


def test_only_what_is_asked_for_comes(ranges, service):
    assert ranges.read(10, 20) == DATA[10:20]
    assert ranges.read(99_990, 200_000) == DATA[99_990:]
    assert [asked["Range"] for asked in service.asked] == ["bytes=10-19", "bytes=99990-99999"]
    assert ranges.read(5, 5) == ranges.read(100_000, 100_001) == ranges.read(7, 3) == b""
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"one"'}, {"ETag": '"two"'}),
        (
            {"Last-Modified": "Sat, 21 Nov 2026 09:15:02 GMT"},
            {"Last-Modified": "Sat, 21 Nov 2026 09:15:03 GMT"},
        ),
        ({"ETag": 'W/"1"', "Last-Modified": "x"}, {"ETag": 'W/"1"', "Last-Modified": "y"}),
    ],
)
def test_parts_of_different_files_are_not_mixed(ranges, service, outdated, before, after):
    service.headers = before
    assert ranges.read(0, 10) == DATA[:10]
    assert outdated == []
    service.content, service.headers = DATA[::-1], after
    with pytest.raises(FileChanged, match="was replaced while it was open"):
        ranges.read(0, 10)
    assert outdated == [1]


@pytest.mark.parametrize(
    "content", [DATA[:50], DATA + b"more", b""], ids=["less", "more", "nothing"]
)
def test_a_file_of_another_size_is_another_file(ranges, service, content):
    service.content = content
    with pytest.raises(FileChanged):
        ranges.read(60, 70)


def test_a_file_that_is_gone_is_missing(service):
    with pytest.raises(Missing):
        Ranges(service.http, "p/a/v/no", 5, str, lambda: None).read(0, 5)


def test_what_breaks_off_is_asked_for_again(ranges, service):
    service.breaks = 2
    assert ranges.read(0, 1000) == DATA[:1000]
    service.breaks = 3
    with pytest.raises(NoAnswer):
        ranges.read(0, 1000)


def test_without_ranges_the_whole_file_is_fetched_once(ranges, service):
    service.knows_ranges = False
    assert ranges.read(10, 20) == DATA[10:20]
    assert ranges.read(500, 600) == DATA[500:600]
    assert len(service.asked) == 1


def test_without_ranges_a_file_of_another_size_is_another_file(ranges, service):
    service.knows_ranges = False
    service.content = b"short"
    with pytest.raises(FileChanged):
        ranges.read(0, 3)


def test_it_is_a_file(ranges):
    raw = RangesFile(ranges, "p/a/v/f#")
    with io.BufferedReader(raw, 1000) as file:
        assert file.name == "p/a/v/f#"
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.read(10) == DATA[:10]
        assert file.seek(-10, os.SEEK_CUR) == 0
        assert file.seek(-7, os.SEEK_END) == len(DATA) - 7
        assert (file.read(), file.read()) == (DATA[-7:], b"")
        assert file.seek(len(DATA) + 5) == len(DATA) + 5
        assert file.read(1) == b""
        file.seek(3)
        assert file.read() == DATA[3:]
        with pytest.raises(ValueError, match="-1"):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"")
    with pytest.raises(ValueError, match="closed"):
        file.read()
    for use in (raw.tell, lambda: raw.seek(0), raw.readall, lambda: raw.readinto(bytearray(1))):
        if use != raw.tell:
            with pytest.raises(ValueError, match="closed"):
                use()
