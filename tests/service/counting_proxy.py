"""A proxy in front of a service that counts what is requested."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import requests

PIECE = 1 << 16


class CountingProxy:
    """Passes on ``GET`` requests to the service at ``url``; ``seen`` lists path and status.

    While ``is_down`` is set, it closes every connection without an answer.
    """

    def __init__(self, service_url: str) -> None:
        self.seen: list[tuple[str, int]] = []
        self.sent = 0
        self.is_down = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if proxy.is_down.is_set():
                    self.close_connection = True
                    return
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() != "host"
                }
                with requests.get(
                    service_url + self.path, headers=headers, stream=True, timeout=60
                ) as answer:
                    proxy.seen.append((self.path.partition("?")[0], answer.status_code))
                    body = answer.content
                proxy.sent += len(body)
                self.send_response_only(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                if answer.status_code != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, *parts: str, status: int = 200) -> int:
        """How many requests with this status had one of ``parts`` in their path."""
        return sum(any(part in path for part in parts) and got == status for path, got in self.seen)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
