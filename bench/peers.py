"""The services that are measured: one that a command starts here, or any that already runs."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from gobbler.client.testing import HOST, STOP_SECONDS, ReservedPort, make_directories
from gobbler.fs.open import user_name

_numbers = itertools.count(1)


INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM}

IDLE = 5.0
"""Seconds after which a connection is opened again: services close idle ones."""

ANSWER_SECONDS = 900.0
"""Seconds within which a request must be answered; no case takes nearly as long."""


class Connection:
    """One connection to a service, which takes far less time than a session of ``requests``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=ANSWER_SECONDS
        )
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
    """A service of the protocol.

    ``pid``: its first process, and ``command``: what starts one like it, where they are known.
    ``projects``: those that were made.
    """

    name: str
    url: str
    staging: Path
    registry: Path
    pid: int | None = None
    command: str | None = None
    projects: list[str] = field(default_factory=list)
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.url)

    def again(self) -> Peer:
        """The same service, over another connection: one is for one thread."""
        return replace(self)

    def ask(self, action: str, **fields: object) -> dict[str, object]:
        """Have a request carried out; the answer. Raises if it is an error."""
        name = f"request-{action}-{os.getpid()}-{next(_numbers)}"
        path = self.staging / name
        try:
            path.write_text(json.dumps(fields))
            answer: dict[str, object] = json.loads(self.connection.post(f"/new/{name}"))
        finally:
            path.unlink(missing_ok=True)
        if answer.get("status") != "SUCCESS":
            raise RuntimeError(f"{self.name}, {action}: {answer.get('reason')}")
        return answer

    def project(self) -> str:
        """A new project. An interruption waits for it, or it could be made after it was removed."""
        name = f"bench-{os.getpid()}-{next(_numbers)}"
        self.projects.append(name)
        former = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        try:
            self.ask("create_project", project=name)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
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

    def clear(self) -> None:
        """Remove all projects, and what stands in staging.

        A service that is gone keeps nobody from clearing away the rest.
        """
        self.connection = Connection(self.url)  # a request may have been interrupted
        while self.projects:
            with suppress(OSError, http.client.HTTPException):
                self.remove(self.projects.pop())
        for pattern in (f"bench-{os.getpid()}-*", f"request-*-{os.getpid()}-*"):
            for path in self.staging.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


OURS = (
    "{python} -m gobbler serve --staging {staging} --registry {registry} --port {port}"
    " --admin {user}"
)
"""The command of our service, of the interpreter that runs the bench."""


class StartedService:
    """A service that ``command`` starts with directories of its own in ``top``.

    ``{staging}``, ``{registry}``, ``{port}``, ``{user}`` and ``{python}`` in the command are filled
    in. It has answered a request when the constructor returns.

    Raises ``RuntimeError``: the command ended, or nothing answered within ``seconds``.
    """

    def __init__(self, top: Path, name: str, command: str, *, seconds: float = 30.0) -> None:
        self._top = top
        self._port = ReservedPort()
        top.mkdir()
        top.chmod(0o755)
        staging, registry = make_directories(str(top))
        words = filled(command, staging=staging, registry=registry, port=self._port.number)
        self._log = (top / "log").open("wb")
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the bench, which then stops it in good order
        )
        url = f"http://{HOST}:{self._port.number}"
        try:
            self._await(url, name, time.monotonic() + seconds)
        except BaseException:
            self.stop()
            raise
        self.peer = Peer(name, url, Path(staging), Path(registry), self._process.pid, command)

    def _await(self, url: str, name: str, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                log = (self._top / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with {self._process.returncode}:\n{log}")
            with suppress(OSError, http.client.HTTPException):
                Connection(url).get("/info")
                return
            time.sleep(0.001)
        raise RuntimeError(f"{name} did not answer at {url}")

    def stop(self) -> None:
        """End it, and remove its directories. Safe to call again."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._log.close()
        self._port.release()
        shutil.rmtree(self._top, ignore_errors=True)


def filled(command: str, **values: object) -> list[str]:
    """The words of ``command``, with ``values``, the user and the interpreter filled in.

    Raises ``ValueError`` if it asks for anything else, or for no port.
    """
    known = {**values, "user": user_name(os.geteuid()), "python": sys.executable}
    if "{port}" not in command:
        raise ValueError("the command of a service must have {port}")
    try:
        return [word.format(**known) for word in shlex.split(command)]
    except (KeyError, IndexError) as error:
        raise ValueError(f"the command of a service has an unknown {{{error.args[0]}}}") from None


class OurService(StartedService):
    """Our service, started for the benchmarks below ``top``."""

    def __init__(self, top: Path, name: str, *arguments: str) -> None:
        super().__init__(top / name.replace(" ", "-"), name, " ".join([OURS, *arguments]))
