"""Direct connections: when they may be used, and that each request gets its own answer."""

from __future__ import annotations

import gzip
import os
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from gobbler.client import direct
from gobbler.client.direct import Address, environment_applies, plain_address
from gobbler.client.http import Http


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://gobbler.example.org", Address("gobbler.example.org", 80, "")),
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080, "")),
        ("http://[::1]:8080/data/g-1", Address("::1", 8080, "/data/g-1")),
        ("https://gobbler.example.org", None),
        ("http://me:secret@gobbler.example.org", None),
        ("http://göbbler.example.org", None),
        ("http://gobbler.example.org/a%20b", None),
    ],
)
def test_only_plain_addresses_are_reached_directly(url, address):
    assert plain_address(url) == address


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_a_proxy_or_a_password_of_the_environment_applies(environment, tmp_path):
    assert not environment_applies()
    environment.setenv("NO_PROXY", "localhost")
    assert not environment_applies()
    for name in ("http_proxy", "HTTP_PROXY", "All_Proxy", "NETRC"):
        environment.setenv(name, "http://proxy:1")
        assert environment_applies()
        environment.delenv(name)
    (tmp_path / "_netrc").touch()
    assert environment_applies()
    (tmp_path / "_netrc").rename(tmp_path / ".netrc")
    assert environment_applies()


def test_a_proxy_of_the_environment_is_used(web, environment):
    there = Http("http://gobbler.invalid")
    web.put("http://gobbler.invalid/fetch/a", b"by the proxy")
    environment.setenv("http_proxy", web.url)
    assert there.read("a") == b"by the proxy"


def test_no_proxy_is_used_for_this_machine(web, environment):
    environment.setenv("http_proxy", "http://proxy.invalid:1")
    web.put("/fetch/a", b"here")
    assert Http(web.url).read("a") == b"here"


def test_a_redirection_is_followed(web):
    web.put("/fetch/a", b"", 302, Location=f"{web.url}/elsewhere")
    web.put("/elsewhere", b"there")
    assert Http(web.url).read("a") == b"there"


def test_what_a_proxy_packs_is_unpacked(web):
    packed = gzip.compress(b"12345" * 100)
    web.put("/fetch/a", packed, **{"Content-Encoding": "gzip"})
    assert Http(web.url).read("a") == b"12345" * 100


class Counting(socketserver.ThreadingTCPServer):
    """A service that counts its connections, and closes each after ``lasts`` answers."""

    daemon_threads = True

    def __init__(self, lasts=1000, body=b"12345"):
        self.connections = self.posts = 0
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                server.connections += 1
                for _ in range(lasts):
                    line = self.rfile.readline()
                    server.posts += line.startswith(b"POST")
                    while self.rfile.readline().strip():
                        pass
                    if not line:
                        return
                    # The target is the answer, so that nobody takes that of another.
                    answer = line.split()[1].rpartition(b"/")[2] * 10 if body is None else body
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
                    self.wfile.write(answer)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def http(self):
        return Http(f"http://127.0.0.1:{self.server_address[1]}")


def test_a_connection_serves_one_request_after_the_other():
    with Counting(body=b'{"a": 1}') as service:
        for _ in range(3):
            assert service.http.read("a") == b'{"a": 1}'
            assert service.http.post("/new/x") == {"a": 1}
        assert service.connections == 1
        service.shutdown()


def test_a_connection_that_the_service_has_closed_is_not_used():
    with Counting(lasts=1, body=b'{"a": 1}') as service:
        for number in range(1, 4):
            address = plain_address(service.http.url)
            assert service.http.post("/new/x") == {"a": 1}
            for free in direct._free[os.getpid(), address]:
                assert free.sock.recv(1) == b""  # waits until it is closed
            assert (service.connections, service.posts) == (number, number)
        service.shutdown()


def test_what_is_left_of_an_answer_is_not_taken_for_the_next():
    with Counting(body=b"x" * 300_000) as service:
        assert service.http.read_start("a", 10) == b"x" * 10
        assert service.http.read("a") == b"x" * 300_000
        with suppress(KeyboardInterrupt), service.http.stream("/fetch/a") as response:
            next(response.iter_content(10))
            raise KeyboardInterrupt
        assert service.http.read("a") == b"x" * 300_000
        assert service.connections == 3
        service.shutdown()


def test_threads_get_the_answers_to_what_they_asked():
    with Counting(body=None) as service:

        def ask(number: int) -> bool:
            return service.http.read(f"{number:05}") == b"%05d" % number * 10

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(400)))
        assert service.connections <= 8
        service.shutdown()
