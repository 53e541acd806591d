"""What a client makes of what comes over HTTP, and of what does not."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pickle
import re
import signal
import socket
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from urllib3.util import Retry

from gobbler.client import direct, http, patience, session
from gobbler.client.config import InvalidConfiguration
from gobbler.client.errors import (
    BrokenOff,
    NoAnswer,
    NotThere,
    RequestFailed,
    TooSlow,
    error_from_answer,
    request_failed,
)
from gobbler.client.expected import ContentMismatch
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.ranges import FileChanged, Ranges
from gobbler.client.source import ServiceInfo
from gobbler.errors import Code, Forbidden, GobblerError, Missing, Refused, Unreachable


@pytest.fixture(autouse=True, params=["direct", "session"])
def way(request, monkeypatch):
    """Both ways to a service have to do the same."""
    if request.param == "session":
        monkeypatch.setattr(direct, "plain_address", lambda _: None)
    return request.param


def repeat_at_once(monkeypatch):
    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)
    monkeypatch.setattr(direct, "read_pause", lambda _: 0)
    monkeypatch.setattr(http, "read_pause", lambda _: 0)


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [(400, Refused, 3), (403, Forbidden, 4), (404, Missing, 5), (500, GobblerError, 1)],
)
def test_the_reason_of_the_service_is_the_text(web, status, kind, exit_code):
    web.put("/new/x", '{"status": "ERROR", "reason": "no such thing"}', status)
    with pytest.raises(requests.HTTPError) as caught:
        Http(web.url).post("/new/x")
    assert isinstance(caught.value, RequestFailed)
    assert isinstance(caught.value, kind)
    assert str(caught.value) == "no such thing"
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    "error",
    [
        request_failed(404, "gone", code=Code.ASSET_NOT_FOUND, hint="Look.", fields={"a": [1]}),
        request_failed(503, "away"),
        error_from_answer(500, {"reason": "new", "code": "not-known-here"}),
        NoAnswer("x", hint="Look."),
        BrokenOff("x"),
        TooSlow("x", hint="Look."),
        NotThere("gone", "/a", hint="Look."),
        FileChanged("p/a/v/f"),
        ContentMismatch("wrong", hint="Look."),
        InvalidConfiguration("wrong", hint="Look."),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_keep_all_they_say_when_they_are_pickled_or_copied(error, copied):
    same = copied(error)
    assert (type(same), str(same)) == (type(error), str(error))
    assert (same.code, same.hint, same.fields) == (error.code, error.hint, error.fields)
    assert type(same.code) is type(error.code)
    if isinstance(error, OSError):
        assert (same.errno, same.filename) == (error.errno, error.filename)


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, {"reason": "no", "code": "expired-request"}, Code.EXPIRED_REQUEST),
        (500, {"reason": "no", "code": "stopping"}, Code.STOPPING),
        (418, {"reason": "no", "code": "of-tomorrow"}, "of-tomorrow"),
        (400, {"reason": "no"}, Code.INVALID_REQUEST),
        (403, {"reason": "no", "code": 7}, Code.NOT_ALLOWED),
        (404, {"reason": "no", "code": ""}, Code.NOT_FOUND),
        (502, {"reason": "no"}, Code.UNAVAILABLE),
        (500, {}, Code.INTERNAL_ERROR),
    ],
)
def test_the_code_is_the_word_of_the_service_or_follows_from_the_status(status, answer, code):
    error = error_from_answer(status, answer)
    assert (error.code, type(error.code)) == (code, type(code))
    assert "code" not in error.fields


GO_LSTAT = "failed to access path; lstat /s/{}: no such file or directory"


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (400, GO_LSTAT.format("request-upload-1f"), Code.MISSING_REQUEST),
        (400, GO_LSTAT.format("upload-1f"), Code.INVALID_REQUEST),
        (500, GO_LSTAT.format("request-upload-1f"), Code.INTERNAL_ERROR),
        (400, GO_LSTAT.format("request-upload-1f/x"), Code.INVALID_REQUEST),
    ],
)
def test_the_go_service_says_by_text_alone_that_it_sees_no_request(status, reason, code):
    assert error_from_answer(status, {"reason": reason}).code is code


def test_missing_files_are_both_kinds_of_error():
    error = NotThere("gone", "/a", hint="look elsewhere")
    assert isinstance(error, FileNotFoundError)
    assert (str(error), error.filename, error.hint) == ("gone", "/a", "look elsewhere")


def test_a_web_page_is_not_an_answer(web):
    web.put("/info", "<html>Log in</html>", **{"Content-Type": "text/html"})
    with pytest.raises(RequestFailed, match=r"/info can't be read: .*text/html") as caught:
        Http(web.url).get("/info", ServiceInfo)
    assert "proxy" in caught.value.hint


def test_a_web_page_as_an_error_is_reported_as_such(web):
    web.put("/info", "<html>Forbidden</html>", 403, **{"Content-Type": "text/html; charset=x"})
    with pytest.raises(RequestFailed, match=r"GET .*/info failed: HTTP 403") as caught:
        Http(web.url).get("/info", ServiceInfo)
    assert "proxy" in caught.value.hint
    assert caught.value.exit_code == 4


def test_plain_text_of_an_error_is_shown(web):
    web.put("/fetch/a", "404 page not found\n", 404, **{"Content-Type": "text/plain"})
    with pytest.raises(Missing, match="404 page not found"):
        Http(web.url).read("a")


def test_a_wrong_type_is_reported_with_its_place(web):
    web.put("/info", '{"staging": 1, "registry": "/r"}')
    with pytest.raises(RequestFailed, match=r"\$\.staging"):
        Http(web.url).get("/info", ServiceInfo)


def test_a_redirected_post_does_not_turn_into_a_get(web):
    web.put("/new/x", "", 302, Location="/elsewhere")
    with pytest.raises(RequestFailed) as caught:
        Http(web.url).post("/new/x")
    assert "/elsewhere" in caught.value.hint
    assert web.seen == ["/new/x"]


def test_nobody_there():
    with socket.socket() as ingested:
        ingested.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{ingested.getsockname()[1]}"
        with pytest.raises(requests.ConnectionError) as caught:
            Http(url).get("/info", ServiceInfo)
    assert isinstance(caught.value, Unreachable)
    assert str(caught.value) == f"no service answers at {url}: Connection refused"
    assert caught.value.exit_code == 6


DRIPPING = {
    "the status": b"",
    "the headers": b"HTTP/1.1 200 OK\r\nX-",
    "what comes before the status": b"HTTP/1.1 100 Continue\r\nX-",
    "the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
    "the parts of the body": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "the error": b"HTTP/1.1 500 Oh\r\nContent-Length: 100000000\r\n\r\n",
}
"""What a service sends at once before it sends a byte now and then."""


@pytest.mark.parametrize("begin", DRIPPING.values(), ids=DRIPPING)
@pytest.mark.parametrize("ask", [lambda at: at.read("a"), lambda at: at.post("/new/a")])
def test_a_service_that_drips_holds_no_client(monkeypatch, begin, ask):
    repeat_at_once(monkeypatch)
    monkeypatch.setattr("gobbler.client.patience.PATIENCE", 0.02)
    monkeypatch.setattr("gobbler.client.patience.SLOWEST", 1e9)
    dripped = b"1\r\n1\r\n" if b"chunked" in begin else b"1"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(begin)
            gone = threading.Event()
            with contextlib.suppress(OSError):
                while not gone.wait(0.005):
                    self.wfile.write(dripped)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(TooSlow):
            ask(Http(f"http://127.0.0.1:{server.server_address[1]}"))
        server.shutdown()


class Drops(io.RawIOBase):
    """What arrives byte by byte, each after an hour, and may keep up with ``speed``."""

    def __init__(self, clock, speed):
        self.clock, self.speed = clock, speed

    def readinto(self, buffer):
        self.clock[0] += 3600
        count = min(len(buffer), max(1, self.speed * 3600))
        buffer[:count] = bytes(count)
        return count


@pytest.mark.parametrize("slower", [False, True])
def test_only_waiting_after_the_first_byte_needs_a_speed(monkeypatch, slower):
    clock = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock[0])
    speed = int(patience.SLOWEST) // 2 if slower else int(patience.SLOWEST)
    arrival = patience.Arrival(Drops(clock, speed))
    assert arrival.read(1) == b"\0"  # after an hour
    clock[0] += 100_000  # the client does something else
    if slower:
        with pytest.raises(TimeoutError):
            arrival.read(10_000_000)
    else:
        assert sum(len(arrival.read(10_000_000)) for _ in range(10)) == 36_000 * speed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", 'no HTTP, it begins with "SSH-2.0-OpenSSH_9"'),
        (b"HTTP/2 200 OK\r\n\r\n", 'in the protocol "HTTP/2"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", "the answer ended too early"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08"
            + b"\0" * 7
            + b"\xff" * 9,
            "is compressed, and damaged",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"\r\n", "got more than 100 headers"),
        (b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n", "got more than 65536 bytes"),
    ],
)
def test_what_is_no_answer_is_described_in_words(monkeypatch, answer, words):
    repeat_at_once(monkeypatch)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(NoAnswer) as caught:
            Http(f"http://127.0.0.1:{server.server_address[1]}").get("/info", ServiceInfo)
        server.shutdown()
    assert words in str(caught.value)
    assert not re.search(r"\('|HTTPConnectionPool|Error\(|Exception\(", str(caught.value))


def test_a_long_reason_is_cut(web):
    web.put("/info", json.dumps({"status": "ERROR", "reason": "x" * 100_000}), 400)
    with pytest.raises(RequestFailed) as caught:
        Http(web.url).get("/info", ServiceInfo)
    assert len(str(caught.value)) < 5_000


def test_too_slow_is_a_timeout(monkeypatch):
    monkeypatch.setattr("gobbler.client.http.READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(requests.Timeout) as caught:
            Http(url).get("/info", ServiceInfo)
    assert isinstance(caught.value, TooSlow)


@pytest.mark.parametrize("url", ["", "gobbler", "ftp://x", "http://", "http://a b:x"])
def test_what_is_no_address(url):
    with pytest.raises(Refused, match="is not the address of a service"):
        Http(url).get("/info", ServiceInfo)


def test_an_address_may_end_with_a_slash(web):
    web.put("/info", '{"staging": "/s", "registry": "/r", "new": 1}')
    assert Http(web.url + "/").get("/info", ServiceInfo) == ServiceInfo("/s", "/r")


def test_reads_are_repeated_while_a_proxy_says_bad_gateway(web):
    web.put("/info", "", 503)
    with pytest.raises(RequestFailed):
        Http(web.url).get("/info", ServiceInfo)
    assert len(web.seen) == 3


def test_posts_are_never_repeated(web):
    web.put("/new/x", "", 503)
    with pytest.raises(RequestFailed):
        Http(web.url).post("/new/x")
    assert len(web.seen) == 1


def test_every_component_is_percent_encoded():
    assert fetch_endpoint("a b/c+d/50%/é#?") == "/fetch/a%20b/c%2Bd/50%25/%C3%A9%23%3F"


def test_odd_names_arrive_as_they_are(web):
    web.put("/fetch/p/50%25%20of%2B%23", b"x")
    assert Http(web.url).read("p/50% of+#") == b"x"


def test_an_answer_that_breaks_off_is_asked_for_again(web, monkeypatch):
    monkeypatch.setattr("gobbler.client.retry.READ_PAUSE", 0.001)
    web.put("/fetch/a", b"12345")
    answer = web.answers["/fetch/a"]
    answer.promised = 10
    with pytest.raises(BrokenOff):
        Http(web.url).read("a")
    assert len(web.seen) == 3
    web.heal_after(2, "/fetch/a")
    assert Http(web.url).read("a") == b"12345"


def test_answers_of_unknown_fields_are_kept(web):
    web.put("/new/x", '{"status": "SUCCESS", "more": [1]}')
    assert Http(web.url).post("/new/x") == {"status": "SUCCESS", "more": [1]}


def in_a_child(call) -> bool:
    """Whether ``call()`` is true in a forked child, within ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os._exit(0 if call() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_while_threads_of_its_parent_do(web):
    web.put("/fetch/a", b"12345")
    shared = Http(web.url)
    assert shared.read("a") == b"12345"
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            assert shared.read("a") == b"12345"

    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read) for _ in range(4)]
        try:
            for _ in range(10):
                assert in_a_child(lambda: shared.read("a") == b"12345")
        finally:
            ended.set()
    for each in reading:
        each.result()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_free_of_the_locks_of_its_parent(web):
    web.put("/fetch/a", b"12345")
    shared = Http(web.url)
    shared.read("a")
    pools = session._session(os.getpid(), False).get_adapter(web.url).poolmanager
    pool = pools.connection_from_url(web.url).pool
    ranges = Ranges(shared, "a", 5, lambda: "", lambda: None)
    with pool.mutex, ranges._lock:
        assert in_a_child(lambda: shared.read("a") == b"12345")
        assert in_a_child(lambda: ranges._lock.__enter__() is None)


def test_a_service_and_its_ranges_can_be_pickled_after_use(web):
    web.put("/fetch/a", b"12345", ETag='"1"')
    web.answers["/fetch/a"].ranges = True
    shared = Http(web.url)
    shared.read("a")
    same = pickle.loads(pickle.dumps(shared))
    assert (same.url, same.read("a")) == (shared.url, b"12345")
    ranges = Ranges(shared, "a", 5, str, str)
    ranges._condition = {"If-Match": '"1"'}
    again = pickle.loads(pickle.dumps(ranges))
    assert (again.size, again._condition) == (5, ranges._condition)
