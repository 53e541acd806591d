"""A service whose socket is held by systemd: it restarts without a refused connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from .processes import PATIENCE, Place, descendants, own_name, wait_for

HAND_OVER = """
import os, sys
descriptor, count, *command = sys.argv[1:]
os.dup2(int(descriptor), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=count)
os.execv(sys.executable, [sys.executable, *command])
"""
"""Starts a command as systemd does: with the socket as descriptor 3."""


class Activated:
    """``gobbler serve`` with a socket that outlives it."""

    def __init__(self, place: Place, listener: socket.socket) -> None:
        self.place = place
        self._listener = listener
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.log = place.top / "log"

    def start(self, *flags: str, count: str = "1") -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        serve = ["-m", "gobbler", "serve", "--staging", self.place.staging]
        serve += ["--registry", self.place.registry, "--admin", own_name(), *flags]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, str(descriptor), count, *map(str, serve)],
                pass_fds=[descriptor],
                stderr=log,
            )

    def info(self) -> requests.Response:
        return requests.get(f"{self.address}/info", timeout=PATIENCE)


@pytest.fixture
def activated(tmp_path: Path) -> Iterator[Activated]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield Activated(Place(tmp_path), listener)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_it_listens_at_the_socket_that_it_was_given(activated: Activated) -> None:
    process = activated.start("--workers=2")
    with ended(process):
        assert activated.info().json()["registry"] == str(activated.place.registry)
        port = activated.address.rpartition(":")[2]
        wait_for("it says so", lambda: f"127.0.0.1:{port}" in activated.log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_no_connection_is_refused_while_it_restarts(activated: Activated) -> None:
    failures: list[Exception] = []
    answered = 0
    stop = threading.Event()

    def ask() -> None:
        nonlocal answered
        while not stop.is_set():
            try:
                activated.info().raise_for_status()
                answered += 1
            except requests.RequestException as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    process = activated.start()
    with ended(process):
        activated.info()
        asking.start()
        try:
            for _ in range(3):
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0
                before = answered
                process = activated.start()
                wait_for("the next service answers", lambda before=before: answered > before + 2)
        finally:
            stop.set()
            asking.join()
            process.kill()
            process.wait()
    assert failures == []


def test_a_worker_that_dies_is_replaced(activated: Activated) -> None:
    process = activated.start("--jobs=0")
    with ended(process):
        activated.info()
        for child in descendants(process.pid) - {process.pid}:
            os.kill(child, signal.SIGKILL)
        assert activated.info().ok


@pytest.mark.parametrize("count", ["0", "2", ""])
def test_another_number_of_sockets_is_refused(activated: Activated, count: str) -> None:
    process = activated.start(count=count)
    assert process.wait(PATIENCE) != 0
    assert "systemd handed over" in activated.log.read_text()
    assert "ListenStream" in activated.log.read_text()


def test_something_else_than_a_listening_socket_is_refused(activated: Activated) -> None:
    with socket.socket() as other:
        activated._listener = other
        process = activated.start()
        assert process.wait(PATIENCE) != 0
    assert "not a listening TCP socket" in activated.log.read_text()
