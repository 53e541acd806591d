"""Users who know a spool but no HTTP: they have a shell, and accounts of their own."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .processes import Place, account, identity, interpreter, own_name, wait_for

SERVICE, ALICE, BOB = "gtservice", "gtalice", "gtbob"


def uid_of(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


class Workers:
    """``gobbler worker`` processes at a :class:`Place`; killed at the end of the block."""

    def __init__(self, place: Place, *flags: str, user: str | None = None) -> None:
        self.place = place
        self._user = user
        self._flags = flags
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *more: str, before: Iterable[str] = ()) -> subprocess.Popen[bytes]:
        """Start one; ``before`` is a command that runs it. Its output goes to a log."""
        python, environment = interpreter(self._user)
        command = [*before, python, "-m", "gobbler", "worker", f"--staging={self.place.staging}"]
        command += [f"--registry={self.place.registry}", f"--admin={own_name()}"]
        command += ["--durability=relaxed", *self._flags, *more]
        log = self.place.top / f"worker-{len(self.processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stderr=output,
                env=environment,
                cwd="/",
                start_new_session=True,
                **identity(self._user),
            )
        self.processes.append(process)
        return process

    def ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it works."""
        number = self.processes.index(process)
        wait_for(
            f"a worker that works: {self.output()}",
            lambda: "carries out the jobs" in self.log(number),
        )

    def log(self, number: int) -> str:
        return (self.place.top / f"worker-{number}.log").read_text()

    def output(self) -> str:
        return "\n".join(self.log(number) for number in range(len(self.processes)))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            kill(process)


@pytest.fixture
def hall(public_place: Place) -> Place:
    """Staging and a registry of the service's account."""
    uid = account(SERVICE)
    account(ALICE)
    account(BOB)
    os.chown(public_place.registry, uid, -1)
    return public_place


@pytest.fixture
def staffed(hall: Place) -> Iterator[Place]:
    """The same, with one worker that runs as the service's account."""
    with Workers(hall, user=SERVICE) as workers:
        workers.ready(workers.start())
        yield hall
        assert "Traceback" not in workers.output()


def spool(place: Place) -> Path:
    return place.staging / "..spool"


def shell(user: str | None, script: str, place: Place) -> str:
    """Run a shell script as ``user`` in staging; what it printed, errors too."""
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=place.staging,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        **(identity(user) if user else {}),
    )
    return done.stdout.decode()


def submit(place: Place, user: str | None, action: str, payload: object, name: str = "") -> str:
    """Write a request into ``tmp`` and move it, by shell commands; the job's name."""
    name = name or f"request-{action}-{secrets.token_hex(6)}"
    script = f"cat >..spool/tmp/{name} <<'E'\n{json.dumps(payload)}\nE\n"
    said = shell(user, script + f"mv ..spool/tmp/{name} ..spool/new/{name}", place)
    assert said == ""
    return f"{uid_of(user or own_name())}-{name}"


def answer_of(place: Place, job: str, user: str | None = None, patience: float = 30) -> Any:
    """Wait for the answer of a job, and read it as ``user``."""
    wait_for(
        f"an answer to {job}", (spool(place) / "cur" / f"{job}.answer").exists, patience=patience
    )
    return json.loads(shell(user, f"cat '..spool/cur/{job}.answer'", place))


def ask(place: Place, user: str | None, action: str, payload: object) -> Any:
    return answer_of(place, submit(place, user, action, payload), user)


def state_of(place: Place, job: str) -> Any:
    with contextlib.suppress(FileNotFoundError):
        return json.loads((spool(place) / "cur" / f"{job}.state").read_bytes())
    return {}


def in_jobs(place: Place) -> list[str]:
    return os.listdir(spool(place) / "jobs")


def drop(place: Place, requests: Iterable[tuple[int, str, object]]) -> list[str]:
    """Put many requests (owner, name, content) into ``new`` at once; the names of their jobs."""
    jobs = []
    for uid, name, payload in requests:
        path = spool(place) / "tmp" / name
        path.write_text(json.dumps(payload))
        os.chown(path, uid, -1)
        path.rename(spool(place) / "new" / name)
        jobs.append(f"{uid}-{name}")
    return jobs


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what :meth:`Workers.start` started, and what that may have started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stays_so(condition: Any, seconds: float) -> bool:
    """Whether ``condition()`` holds for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.02)
    return True
