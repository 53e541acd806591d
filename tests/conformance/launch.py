"""Starting the service of this project as a subprocess, as an administrator would."""

from __future__ import annotations

import os
import pwd
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests

PATIENCE = 30.0
"""Seconds that a service may take to answer, or to end."""


def present_user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def reserve_port() -> tuple[int, socket.socket]:
    """A free port, and what is to be closed when it is no longer wanted.

    Tests run side by side, and between looking for a port and listening there another may come:
    services may even share it, and get half of the requests each. So whoever wants a port first
    takes the UDP port of the same number, which nobody can share; gobbler.client.testing does so,
    too. They are below those that Linux gives to connections (``ip_local_port_range``).
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000, 32768)
        lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            lock.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
        else:
            return port, lock
    pytest.exit("no port of 127.0.0.1 is free, of those from 20000 to 32767", 1)


def new_directories(directory: Path) -> tuple[Path, Path]:
    """A staging directory that everybody can write, and a registry."""
    staging, registry = directory / "staging", directory / "registry"
    staging.mkdir(parents=True)
    staging.chmod(0o1733)
    registry.mkdir()
    registry.chmod(0o755)
    return staging, registry


class Process:
    """A running service; use it as a context manager to have it ended."""

    def __init__(
        self,
        staging: Path,
        registry: Path,
        *,
        flags: Sequence[str] = (),
        dash: str = "--",
        prefix: str = "",
    ) -> None:
        port, self._reserved = reserve_port()
        self.url = f"http://127.0.0.1:{port}" + f"/{prefix.strip('/')}".rstrip("/")
        self.output = staging.parent / f"service-{port}.log"
        own: dict[str, object] = {"staging": staging, "registry": registry, "port": port}
        own["admin"] = present_user()
        command = [sys.executable, "-m", "gobbler", "serve"]
        if prefix:
            own["prefix"] = prefix
        for name, value in own.items():
            command += [dash + name, str(value)]
        with self.output.open("wb") as output:  # a mean umask: modes must not depend on it
            self._process = subprocess.Popen(
                [*command, *flags], stdout=output, stderr=subprocess.STDOUT, umask=0o077
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(self.url + "/info", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(0.05)
        code = self._process.poll()
        ended = "did not answer" if code is None else f"ended with exit code {code}"
        pytest.fail(f"the service {ended}; its output:\n{self.output.read_text()}", pytrace=False)

    def must_live(self) -> None:
        """End the whole run, with the service's output, when the service has ended."""
        code = self._process.poll()
        if code is not None:
            output = self.output.read_text()
            pytest.exit(f"the service ended with exit code {code}; its output:\n{output}", 1)

    def stop(self) -> int:
        """End the service with SIGTERM; the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            pytest.fail(f"the service ignored SIGTERM; its output:\n{self.output.read_text()}")
        finally:
            self._reserved.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
