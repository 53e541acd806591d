"""Nothing that a client or a user chooses makes the service large, or slow for others."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from gobbler.service.routes.jobs import STREAMS

from .processes import (
    Place,
    Running,
    account,
    public_place,
    shared_place,
    upload_of,
    wait_for,
)

__all__ = ["public_place", "shared_place"]

MIB = 1 << 20

READERS = 200

ALICE, BOB = "gtalice", "gtbob"


@pytest.fixture(scope="module")
def serving(shared_place: Place) -> Iterator[Running]:
    build(shared_place)
    with Running(shared_place) as running:
        yield running


def build(place: Place) -> None:
    version = place.registry / "p/a/1"
    version.mkdir(parents=True)
    (place.registry / "p/..permissions").write_text("{}")
    with (version / "large").open("wb") as large:
        large.truncate(64 * MIB)
    with (version / "middle").open("wb") as middle:
        middle.truncate(3 * MIB)
    (version / "small").write_bytes(b"small")
    many = version / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number:04d}{'x' * 200}").touch()


def deaf(serving: Running, target: str) -> socket.socket:
    """A client that asks for ``target``, and reads nothing."""
    where = urlsplit(serving.url)
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else it buffers megabytes
    asking.connect((where.hostname, where.port))
    asking.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return asking


@pytest.mark.parametrize(
    "targets",
    [
        ("/fetch/p/a/1/large",),
        ("/fetch/p/a/1/middle",),
        ("/archive/p/a/1.tar", "/list?path=&recursive=true", "/list?path=p/a/1/many"),
    ],
    ids=["large files", "middle files", "archives and lists"],
)
def test_clients_that_do_not_read_cost_little(serving: Running, targets: tuple[str, ...]) -> None:
    before = serving.memory()
    with ExitStack() as open_clients:
        for number in range(READERS):
            client = deaf(serving, targets[number % len(targets)])
            open_clients.enter_context(client)
        seen = []
        for _ in range(20):
            got = requests.get(f"{serving.url}/fetch/p/a/1/small", timeout=60)
            assert got.content == b"small"
            assert requests.get(f"{serving.url}/list?path=p/a/1", timeout=60).status_code == 200
            seen.append(serving.memory())
            time.sleep(0.1)
    assert max(seen) - before < 300 * MIB
    again = requests.get(f"{serving.url}/fetch/p/a/1/large", timeout=60)
    assert len(again.content) == 64 * MIB


@contextmanager
def sipping(clients: list[socket.socket]) -> Iterator[None]:
    """Each of ``clients`` takes some 10 kB a second during the block."""
    ended = threading.Event()

    def sip() -> None:
        while not ended.wait(0.1):
            for client in clients:
                with suppress(OSError):
                    client.recv(1024, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=sip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_who_takes_little_gives_way_to_who_takes_much(public_place: Place) -> None:
    """One client has 32 places for archives; without this, the next one gets 503."""
    version = public_place.registry / "p/a/1"
    version.mkdir(parents=True)
    (public_place.registry / "p/..permissions").write_text("{}")
    with (version / "large").open("wb") as large:
        large.truncate(64 * MIB)
    # A tenth of the time in which who waits must get a place.
    constants = {"gobbler.service.transfers:STALLED_WHEN_CROWDED": 1.0}
    with Running(public_place, constants=constants) as serving, ExitStack() as open_clients:
        slow = [deaf(serving, "/archive/p/a/1.tar") for _ in range(32)]
        for client in slow:
            open_clients.enter_context(client)
        for client in slow:
            client.settimeout(60)
            client.recv(1, socket.MSG_PEEK)  # it has its place once there is an answer
        open_clients.enter_context(sipping(slow))
        got = requests.get(f"{serving.url}/archive/p/a/1.tar", timeout=60)
        assert (got.status_code, len(got.content) > 64 * MIB) == (200, True)
        wait_for("the others", lambda: "broke off a transfer" in serving.output())


def test_hundreds_of_requests_of_one_user_keep_nobody_else_waiting(public_place: Place) -> None:
    """Alice's wait for a lock that somebody holds; Bob's is in another project."""
    alice, bob = account(ALICE), account(BOB)
    with Running(public_place, f"--admin={ALICE},{BOB}") as running, ExitStack() as held:
        for project, user in (("p", alice), ("q", bob)):
            running.succeed("create_project", {"project": project}, user)
        lock = os.open(public_place.registry / "p/..LOCK", os.O_RDWR | os.O_CREAT)
        held.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        change = {"project": "p", "permissions": {"owners": [ALICE]}}
        waiting: list[http.client.HTTPConnection] = []
        for _ in range(300):
            name = public_place.write_request("set_permissions", change, alice)
            waiting.append(running.begin(name))
            held.callback(waiting[-1].close)
        source = public_place.stage({"f": b"bob's"}, bob)
        running.succeed("upload", {**upload_of(source), "project": "q"}, bob)
        running.succeed("health_check", {}, bob)
        for connection in waiting[100:]:
            connection.close()  # most of them wait for a place
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert [connection.getresponse().status for connection in waiting[:100]] == [200] * 100
        wait_for("those of clients that left", lambda: "the client went away" in running.output())


def test_a_long_request_line_or_header_is_refused(serving: Running) -> None:
    size = 1_000_000
    for path, headers in (("/fetch/" + "x" * size, {}), ("/info", {"x": "y" * size})):
        try:
            refused = requests.get(serving.url + path, headers=headers, timeout=60)
        except requests.ConnectionError:
            continue  # the server does not wait for the rest
        assert 400 <= refused.status_code < 500
    assert requests.get(serving.url + "/info", timeout=60).ok


@pytest.mark.parametrize("path", ["/info", "/fetch/p/a/1/small", "/list", "/new/x", "/nothing"])
def test_a_body_that_nobody_wants_takes_no_memory(serving: Running, path: str) -> None:
    before = serving.memory()

    def body() -> Iterator[bytes]:
        for _ in range(128):
            yield bytes(MIB)

    for method in ("GET", "POST"):
        try:
            answer = requests.request(method, serving.url + path, data=body(), timeout=60)
        except requests.ConnectionError:
            continue  # answered before the body was read
        assert answer.status_code in (200, 400, 404, 405)
    assert serving.memory() - before < 64 * MIB


ACTIVE = {
    "page.html": "<html><body><script>document.body.dataset.ran = 'yes'</script></body></html>",
    "page.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><body><script>'
    "document.body.dataset.ran = 'yes'</script></body></html>",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg"><script>'
    "document.documentElement.dataset.ran = 'yes'</script></svg>",
}


@pytest.mark.parametrize("name", ACTIVE)
def test_no_script_of_an_uploader_runs_in_a_browser(
    serving: Running, tmp_path: Path, name: str
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")

    def shown(address: str) -> str:
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
        profile = f"--user-data-dir={tmp_path}/profile"
        command = [chromium, *flags, profile, "--virtual-time-budget=5000", "--dump-dom", address]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    file = serving.place.registry / "p/a/1" / name
    file.write_text(ACTIVE[name])
    assert 'data-ran="yes"' in shown(file.as_uri()), "or this test shows nothing"
    address = f"{serving.url}/fetch/p/a/1/{name}"
    assert 'data-ran="yes"' not in shown(address)
    got = requests.get(address, timeout=60)
    assert got.text == ACTIVE[name]
    assert got.headers["content-security-policy"].startswith("sandbox;")


def waiting_job(serving: Running, action: str, payload: object) -> str:
    """A request that the service accepted; the name of its job."""
    answer = serving.post(serving.place.write_request(action, payload) + "?wait=false")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"])


def following(serving: Running, job: str, address: str) -> tuple[socket.socket, bytes]:
    """A client at a loopback ``address`` that follows ``job``, and the first line of its answer."""
    where = urlsplit(serving.url)
    stream = socket.create_connection((where.hostname, where.port), source_address=(address, 0))
    stream.sendall(f"GET /jobs/{job}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    stream.settimeout(60)
    return stream, stream.recv(65536).partition(b"\r\n")[0]


def test_streams_of_jobs_are_bounded(public_place: Place) -> None:
    with Running(public_place, "--jobs=0", "--workers=1") as serving, ExitStack() as held:
        job = waiting_job(serving, "health_check", {})
        found = []
        for _ in range(STREAMS.each + 20):
            stream, line = following(serving, job, "127.0.0.1")
            held.enter_context(stream)
            found.append(line)
        assert found[: STREAMS.each] == [b"HTTP/1.1 200 OK"] * STREAMS.each
        assert set(found[STREAMS.each :]) == {b"HTTP/1.1 503 Service Unavailable"}
        # There is room for others, and the state itself can be read.
        other, line = following(serving, job, "127.0.0.2")
        held.enter_context(other)
        assert line == b"HTTP/1.1 200 OK"
        assert requests.get(f"{serving.url}/jobs/{job}", timeout=60).status_code == 200
        # Who leaves makes room.
        held.pop_all().close()

        def has_room() -> bool:
            stream, line = following(serving, job, "127.0.0.1")
            stream.close()
            return line == b"HTTP/1.1 200 OK"

        wait_for("room for another stream", has_room)


ANSWERS = [
    ("GET", "/"),
    ("GET", "/info"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/list"),
    ("GET", "/list?path=p&recursive=true"),
    ("GET", "/fetch/p/a/1/x.png"),
    ("GET", "/fetch/no"),
    ("GET", "/archive/p/a/1.tar"),
    ("GET", "/links/p/a/1"),
    ("GET", "/jobs/1-request-health_check-1"),
    ("GET", "/jobs/1-request-health_check-1/events"),
    ("GET", "/jobs/{job}"),
    ("GET", "/jobs/{job}/events"),
    ("GET", "/no"),
    ("POST", "/new/request-none-1"),
    ("POST", "/info"),
    ("DELETE", "/jobs/1-request-health_check-1"),
]


@pytest.mark.parametrize(("method", "path"), ANSWERS)
def test_whatever_is_answered_says_that_it_is_no_page(
    serving: Running, method: str, path: str
) -> None:
    (serving.place.registry / "p/a/1/x.png").write_bytes(b"")
    if "{job}" in path:
        path = path.format(job=waiting_job(serving, "health_check", {}))
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    for each in methods:
        headers = requests.request(each, serving.url + path, timeout=60).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox")
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["access-control-allow-origin"] == "*"
