"""The services that are measured: ours, started here, or any that already runs."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gobbler.client.testing import TestService

_numbers = itertools.count(1)


IDLE = 5.0
"""Seconds after which a connection is opened again: services close idle ones."""


class Connection:
    """One connection to a service, which takes far less time than a session of ``requests``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._used = float("-inf")

    def post(self, path: str) -> bytes:
        """The body of the answer."""
        return self._ask("POST", path)

    def get(self, path: str) -> bytes:
        """The body of the answer."""
        return self._ask("GET", path)

    def _ask(self, method: str, path: str) -> bytes:
        if time.monotonic() - self._used > IDLE:
            self._connection.close()
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request(method, self._prefix + path)
        body = self._connection.getresponse().read()
        self._used = time.monotonic()
        return body


@dataclass
class Peer:
    """A service of the protocol. ``pid``: its first process, where it is known."""

    name: str
    url: str
    staging: Path
    registry: Path
    pid: int | None = None
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.url)

    def again(self) -> Peer:
        """The same service, over another connection: one is for one thread."""
        return Peer(self.name, self.url, self.staging, self.registry, self.pid)

    def ask(self, action: str, **fields: object) -> dict[str, object]:
        """Have a request carried out; the answer. Raises if it is an error."""
        name = f"request-{action}-{os.getpid()}-{next(_numbers)}"
        path = self.staging / name
        path.write_text(json.dumps(fields))
        try:
            answer: dict[str, object] = json.loads(self.connection.post(f"/new/{name}"))
        finally:
            path.unlink()
        if answer.get("status") != "SUCCESS":
            raise RuntimeError(f"{self.name}, {action}: {answer.get('reason')}")
        return answer

    def project(self) -> str:
        """A new project."""
        name = f"bench-{os.getpid()}-{next(_numbers)}"
        self.ask("create_project", project=name)
        return name

    def upload(self, address: str, source: Path, **options: object) -> None:
        """Publish ``source``, which stands in staging."""
        project, asset, version = address.split("/")
        self.ask(
            "upload", project=project, asset=asset, version=version, source=source.name, **options
        )

    def follow(self, action: str, address: str, source: Path) -> Iterator[int]:
        """Upload ``source`` as a job; the files that are done, as often as one can look."""
        project, asset, version = address.split("/")
        name = f"request-{action}-{os.getpid()}-{next(_numbers)}"
        path = self.staging / name
        fields = {"project": project, "asset": asset, "version": version, "source": source.name}
        path.write_text(json.dumps(fields))
        job = json.loads(self.connection.post(f"/new/{name}?wait=false"))["job"]
        while True:
            state = json.loads(self.connection.get(f"/jobs/{job}"))
            yield state["progress"]["files"] if state.get("progress") else 0
            if state["state"] in ("done", "failed", "cancelled"):
                break
            time.sleep(0.2)
        path.unlink()
        if state["state"] != "done":
            raise RuntimeError(f"{self.name}, {action}: {state}")

    def remove(self, project: str) -> None:
        """Remove a project."""
        with suppress(RuntimeError):
            self.ask("delete_project", project=project)


class OurService:
    """Our service, started for the benchmarks below ``top``."""

    def __init__(self, top: Path, name: str, *arguments: str) -> None:
        self._top = top / name.replace(" ", "-")
        for directory, mode in (("staging", 0o1777), ("registry", 0o755)):
            (self._top / directory).mkdir(parents=True)
            (self._top / directory).chmod(mode)
        staging, registry = self._top / "staging", self._top / "registry"
        self._service = TestService(staging, registry, extra_args=arguments)
        process = self._service._process
        assert process is not None
        self.peer = Peer(name, self._service.url, staging, registry, process.pid)

    def stop(self) -> None:
        """End it and remove what it has made."""
        self._service.stop()
        shutil.rmtree(self._top, ignore_errors=True)
