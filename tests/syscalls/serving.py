"""A service in processes of its own, and those threads of it that carry out requests."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .world import World

PATIENCE = 30.0
"""Seconds that anything may take."""


@dataclass(frozen=True)
class Answer:
    """What the service answered; its ``reason`` is empty when it succeeded."""

    status: int
    fields: dict[str, Any]

    @property
    def reason(self) -> str:
        return str(self.fields.get("reason", "")) if self.status != 200 else ""


class Service:
    """``gobbler serve`` for a world, ended by :meth:`kill`."""

    def __init__(self, world: World, *flags: str) -> None:
        self.world = world
        self.output = world.top / "service.log"
        self._port = _free_port()
        account = pwd.getpwuid(os.geteuid()).pw_name
        command = [sys.executable, "-m", "gobbler", "serve", *flags]
        command += [f"--staging={world.staging}", f"--registry={world.registry}"]
        command += [f"--port={self._port}", f"--admin={account}"]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd="/", start_new_session=True
            )
        try:
            _wait_for(self._answers)
            self.worker = _children(self._process.pid)[-1]
            self._warm_up()
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the service ended: {self.output.read_text()[-300:]}")
        with suppress(OSError, http.client.HTTPException):
            return self._send("GET", "/info").status == 200
        return False

    def _warm_up(self) -> None:
        """Have the first thread made that carries out requests."""
        self._others = _threads(self.worker)
        answer = self.ask("health_check", {})
        if answer is None or answer.reason:
            raise RuntimeError(f"a health check was answered with {answer}")

    def threads(self) -> set[int]:
        """Those that carry out requests; any of them may be the next."""
        return _threads(self.worker) - self._others

    def ask(self, action: str, request: dict[str, Any], uid: int | None = None) -> Answer | None:
        """Send a request; ``None`` if the service ends without an answer."""
        name = f"request-{action}-{secrets.token_hex(6)}"
        path = self.world.staging / name
        path.write_text(json.dumps(request))
        if uid is not None:
            os.chown(path, uid, -1)
        try:
            return self._send("POST", f"/new/{name}")
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            path.unlink()

    def _send(self, method: str, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill all processes at once, as a crash of the host does."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if hasattr(self, "worker"):
            _wait_for(lambda: not _is_alive(self.worker))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing happened within {PATIENCE:g} seconds")
        time.sleep(0.005)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(process: int) -> list[int]:
    found = [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return sorted(found)


def _threads(process: int) -> set[int]:
    """The threads of Python, not those of the HTTP server's native code."""
    tasks = Path(f"/proc/{process}/task")
    name = (tasks / str(process) / "comm").read_text()
    return {int(task.name) for task in tasks.iterdir() if (task / "comm").read_text() == name}


def _is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
