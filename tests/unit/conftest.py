"""For several tests: a web server that answers as a test wants, and pools of processes."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    promised: int | None = None  # Content-Length, if it is to be a lie
    ranges: bool = False  # whether parts can be asked for; needs an ETag or Last-Modified
    breaks_after: list[int] = field(default_factory=list)  # bytes sent, by request
    endless: bool = False  # whether the body is sent again and again, without a Content-Length


class Web:
    """Answers by the path of the request; ``seen`` lists what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []
        self.ranges: list[str | None] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.seen.append(self.path)
                answer = web.answers.get(self.path, Answer(b"404 page not found\n", 404, {}))
                status, body, more = self.part(answer)
                self.send_response(status)
                for name, value in {**answer.headers, **more}.items():
                    self.send_header(name, value)
                if answer.endless:
                    self.close_connection = True
                    self.end_headers()
                    while True:
                        self.wfile.write(body)
                length = len(body) if answer.promised is None else answer.promised
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if answer.breaks_after:
                    body = body[: answer.breaks_after.pop(0)]
                self.wfile.write(body)
                if length != len(body):
                    self.close_connection = True

            def part(self, answer: Answer) -> tuple[int, bytes, dict[str, str]]:
                wanted, condition = self.headers["Range"], self.headers["If-Range"]
                web.ranges.append(wanted)
                validators = (answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
                if not answer.ranges or not wanted or condition not in validators:
                    return answer.status, answer.body, {}
                size, start = len(answer.body), int(wanted[len("bytes=") : -1])
                if start >= size:
                    return 416, b"", {"Content-Range": f"bytes */{size}"}
                reported = f"bytes {start}-{size - 1}/{size}"
                return 206, answer.body[start:], {"Content-Range": reported}

            def do_POST(self) -> None:
                web.on_post(self.path)
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients go away in some tests

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def on_post(self, path: str) -> None:
        """Called before a POST is answered; a test may replace it."""

    def heal_after(self, times: int, path: str) -> None:
        """The answer at ``path`` is whole from the next request but ``times`` on."""
        answer = self.answers[path]
        answer.promised = None
        answer.breaks_after = [len(answer.body) // 2] * times

    def put(self, path: str, body: bytes | str, status: int = 200, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.answers[path] = Answer(data, status, headers or {"Content-Type": "application/json"})


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


class ActingService:
    """Remembers the request file at the moment of the POST, and answers as the test wants."""

    def __init__(
        self, web: Web, staging: Path, status: int = 200, body: str = '{"status": "SUCCESS"}'
    ) -> None:
        self.requests: list[tuple[str, int, object]] = []
        self.body = body

        def on_post(path: str) -> None:
            name = path.rpartition("/")[2]
            file = staging / name
            mode = stat.S_IMODE(file.stat().st_mode)
            self.requests.append((name, mode, json.loads(file.read_text())))
            web.put(path, self.body, status)

        web.on_post = on_post  # type: ignore[method-assign]


@pytest.fixture
def acting_service(web: Web) -> Callable[..., ActingService]:
    """Make a service of a staging directory, with the status and body of its answers."""
    return partial(ActingService, web)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes of a pool import the tests, where they are not forks of this one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
