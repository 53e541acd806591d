"""A service in processes of its own, and those threads of it that carry out requests."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import resource
import secrets
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gobbler.client.testing import HOST, ReservedPort

from .nursery import nursery
from .tracing import BATCH, COPY, POOL, REQUEST, Target
from .world import World

POOLED = {"project": "p", "asset": "a", "version": "1"}
"""A version with more files than a local pool begins with in tests."""

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

    @property
    def code(self) -> str:
        return str(self.fields.get("code", "")) if self.status != 200 else ""


class Service:
    """``gobbler serve`` for a world, ended by :meth:`kill`."""

    def __init__(self, world: World, *flags: str, jobs: int = 0, many: int | None = None) -> None:
        self.world = world
        self.output = world.top / "service.log"
        self.has_pool = many is not None
        self._port = ReservedPort()
        account = pwd.getpwuid(os.geteuid()).pw_name
        flags += (f"--staging={world.staging}", f"--registry={world.registry}")
        # Without a worker for the spool, what is traced are requests that are waited for.
        flags += (f"--port={self._port.number}", f"--admin={account}", f"--jobs={jobs}")
        self._supervisor = nursery().start(["serve", *flags], self.output, many)
        try:
            wait_for(self._answers)
            self.worker = _http_worker_of(self._supervisor)
            self._others = _threads(self.worker)
            # Refused by its name, before any other check; but a thread was started for it.
            self.send("POST", "/new/warm-up")
            self._batchers: set[int] = set()
            self._open_at_first = self._open()
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        if not is_alive(self._supervisor):
            raise RuntimeError(f"the service ended: {self.output.read_text()[-300:]}")
        with suppress(OSError, http.client.HTTPException):
            return self.send("GET", "/info").status == 200
        return False

    def hash_a_batch(self, version: dict[str, Any]) -> bool:
        """Have the thread made that works on batches: ``version`` holds what it is for.

        With ``--concurrency=1`` it stays the only one. ``False`` if a second thread for
        requests was made at the same time, since the first was not yet ready for the next.
        """
        before = _threads(self.worker)
        answer = self.ask("validate_version", version)
        if answer is None or answer.reason:
            raise RuntimeError(f"{version} is not valid: {answer}")
        self._batchers = _threads(self.worker) - before
        return len(self._batchers) == 1

    def threads(self, kind: str) -> Target:
        """Those of one ``kind``; any of them may be the next to work.

        The local pool of a service that has one has a single process, which is started if it died.

        A thread that writes a large file does not live yet: it is among all those that are
        followed.
        """
        if kind == POOL:
            return Target((self._pooled(),))
        if kind == COPY:
            pooled = (self._pooled(),) if self.has_pool else ()
            return Target((self.worker, *pooled), follow=True)
        if kind == BATCH:
            # A new service has none yet. Nor does it have the second thread for requests that it
            # makes when the first is not ready for the next one, and that looks like one of these.
            followed = Target((self.worker,), follow=True)
            return Target(tuple(self._batchers)) if self._batchers else followed
        return Target(tuple(_threads(self.worker) - self._others - self._batchers))

    def kind(self, thread: int, before: set[int]) -> str:
        """Of which kind a thread is; ``before``: those that were there before the request."""
        if thread in self._batchers:
            return BATCH
        if self.has_pool and thread == self._pooled():
            return POOL
        if thread in self.threads(REQUEST).threads:
            return REQUEST if thread in before else BATCH
        return "" if thread in before else COPY

    def _pooled(self) -> int:
        """The process of the local pool, once it is there."""
        found: list[int] = []

        def look() -> bool:
            mothers = _children(self.worker)
            found[:] = [child for mother in mothers for child in _children(mother)]
            if not found:
                answer = self.ask("validate_version", POOLED)
                assert answer is not None
                assert not answer.reason, answer
            return len(found) == 1

        wait_for(look)
        return found[0]

    def all_threads(self) -> set[int]:
        """Those of the HTTP server's native code, too."""
        return {int(task) for task in os.listdir(f"/proc/{self.worker}/task")}

    def left_open(self) -> list[str]:
        """What the worker has open in its directories, and had not at first.

        One directory may be: that by which it flushes the filesystem.
        """
        left = list((self._open() - self._open_at_first).elements())
        by_which = next((found for found in left if found[0]), None)
        return sorted(path for found in left if found is not by_which for path in found[1:])

    def _open(self) -> Counter[tuple[bool, str]]:
        found: Counter[tuple[bool, str]] = Counter()
        for number in os.listdir(f"/proc/{self.worker}/fd"):
            with suppress(FileNotFoundError):
                path = os.readlink(f"/proc/{self.worker}/fd/{number}")
                if f"{path}/".startswith((f"{self.world.staging}/", f"{self.world.registry}/")):
                    mode = os.stat(f"/proc/{self.worker}/fd/{number}").st_mode
                    found[stat.S_ISDIR(mode), path] += 1
        return found

    @contextmanager
    def files_limited(self, size: int) -> Iterator[None]:
        """No file can grow beyond ``size`` bytes: what goes beyond is written in part."""
        former = resource.prlimit(self.worker, resource.RLIMIT_FSIZE)
        resource.prlimit(self.worker, resource.RLIMIT_FSIZE, (size, former[1]))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(self.worker, resource.RLIMIT_FSIZE, former)

    def ask(self, action: str, request: dict[str, Any], uid: int | None = None) -> Answer | None:
        """Send a request; ``None`` if the service ends without an answer."""
        name = f"request-{action}-{secrets.token_hex(6)}"
        path = self.world.staging / name
        path.write_text(json.dumps(request))
        if uid is not None:
            os.chown(path, uid, -1)
        try:
            return self.send("POST", f"/new/{name}")
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            path.unlink()

    def ask_in_place(self, path: Path, request: dict[str, Any], query: str = "") -> Answer:
        """Send a request by writing it over the file at ``path``, which needs no space."""
        with path.open("r+") as file:
            file.write(json.dumps(request).ljust(path.stat().st_size))
        return self.send("POST", f"/new/{path.name}{query}")

    def send(self, method: str, path: str) -> Answer:
        """Send a plain HTTP request."""
        connection = http.client.HTTPConnection(HOST, self._port.number, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill all processes at once, as a crash of the host does."""
        with suppress(ProcessLookupError):
            os.killpg(self._supervisor, signal.SIGKILL)
        wait_for(lambda: not is_alive(self._supervisor))
        if hasattr(self, "worker"):
            wait_for(lambda: not is_alive(self.worker))
        self._port.release()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; ``TimeoutError`` if it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing happened within {PATIENCE:g} seconds")
        time.sleep(0.005)


def _http_worker_of(process: int) -> int:
    """The only child that answers HTTP requests."""
    found: list[int] = []

    def look() -> bool:
        # Threads that come and go may hide one from a single look.
        children = _children(process)
        found[:] = [
            child
            for child in children
            if _text(Path(f"/proc/{child}/comm")).startswith("gobbler-http")
        ]
        return len(found) == 1

    wait_for(look)
    return found[0]


def _children(process: int) -> set[int]:
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return set()
    return {int(child) for task in tasks for child in _text(task / "children").split()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the thread has ended


def _threads(process: int) -> set[int]:
    """The threads of Python, not those of the HTTP server's native code."""
    tasks = Path(f"/proc/{process}/task")
    name = (tasks / str(process) / "comm").read_text()
    # A thread may end between the listing and the look at it.
    return {int(task.name) for task in tasks.iterdir() if _text(task / "comm") == name}


def is_alive(process: int) -> bool:
    """Whether a process has not ended."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
