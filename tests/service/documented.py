"""Examples of the docs: finding them, and a place in which they can be run."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gobbler.client import Client
from gobbler.client.testing import ReservedPort, TestService

from .processes import own_name

ROOT = Path(__file__).parents[2]

PATIENCE = 120
"""Seconds that one example may take, on a busy machine."""

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>.+?) -->\n)?"
    r"^ *```(?P<kind>\w+)\n(?P<code>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


SERVE = re.compile(r"^gobbler serve (?:.*\\\n)*.*$", re.MULTILINE)
"""A command that ends only when it is stopped, with all its lines."""


@dataclass(frozen=True)
class Example:
    """A block of code; ``reason`` says why it is not run, if it is not."""

    page: str
    section: str
    line: int
    kind: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


def examples(page: Path) -> list[Example]:
    """The blocks of a page, in order."""
    text = page.read_text()
    return [
        Example(
            str(page.relative_to(ROOT)),
            re.findall(r"^#+ (.*)$", text[: found.start()], re.MULTILINE)[-1],
            text.count("\n", 0, found.start("kind")) + 1,
            found["kind"],
            textwrap.dedent(found["code"]),
            found["reason"],
        )
        for found in _BLOCK.finditer(text)
    ]


def steps(session: Example) -> list[tuple[str, str]]:
    """The commands of a session, each with what it prints."""
    shown = re.split(r"^\$ ", session.code, flags=re.MULTILINE)[1:]
    parted = [step.partition("\n") for step in shown]
    return [(line, expected) for line, _, expected in parted]


class Place:
    """The world of the pages: a service, a project with versions, and a user's files."""

    def __init__(self, top: Path) -> None:
        self.home = top / "home"
        self.work = self.home / "work"
        self._service = TestService()
        self.names = {
            "http://gobbler.example.org:8080": self._service.url,
            "http://127.0.0.1:8080": self._service.url,
            "/data/staging": self._service.staging,
            "/data/registry": self._service.registry,
            "~/berlin.csv": str(self.home / "berlin.csv"),
            "--user gobbler": f"--user {own_name()}",
            "-o gobbler": f"-o {own_name()}",
            "/var/lib/gobbler": str(top / "state"),
        }
        self._environment = {
            "LC_ALL": "C.UTF-8",
            "PATH": f"{top}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "USER": own_name(),
            "SLURM_JOB_ID": "4711",
            "XDG_CONFIG_DIRS": str(top / "site"),
        }
        # Whoever runs the tests has made the directories, and need not become anybody else.
        (top / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (top / "sudo").chmod(0o755)
        self._make()

    def _make(self) -> None:
        files = {
            "README": "Stations.\n",
            "berlin.csv": "day,rain\n1,0.3\n",
            "2026/berlin.csv": "day,rain\n1,0.4\n",
        }
        for name, text in files.items():
            path = self.work / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.home / "berlin.csv").write_text("day,rain\n1,0.5\n")
        simulate = self.work / "simulate"
        simulate.write_text('#!/bin/sh\ntest -d "$1" && mkdir -p "$3" && echo 1 > "$3/rain"\n')
        simulate.chmod(0o755)
        client = Client(self._service.url, staging=self._service.staging)
        client.admin.create_project("weather")
        for version in ("1.2", "2.0-beta", "2.1-beta", "2.2-beta"):
            on_probation = version.endswith("-beta")
            client.upload(
                "weather", "stations", version, self.work / "results", probation=on_probation
            )

    def run(self, example: Example) -> subprocess.CompletedProcess[str]:
        """Run an example as the pages' reader would."""
        code = self.put_in(example.code)
        if example.kind == "python":
            # What a page has shown before holds on.
            code = f"from gobbler.client import Client\nclient = Client()\n{code}"
            command = [sys.executable, "-c", code]
        elif SERVE.search(code):
            return self._serve(code)
        else:
            command = ["bash", "-euo", "pipefail", "-c", code]
        return self._run(command)

    def _serve(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a service that a block starts, beside the one that is there, until it answers."""
        with ReservedPort() as port:
            started = SERVE.sub(rf"\g<0> --port {port.number} &", code)
            answers = f"curl --silent --fail http://127.0.0.1:{port.number}/info"
            awaited = f"until {answers}; do kill -0 $!; sleep 0.1; done; kill $!; wait $!"
            return self._run(["bash", "-euo", "pipefail", "-c", f"{started}\n{awaited}"])

    def shell(self, line: str) -> str:
        """What a line prints, with the names that the pages have for things."""
        ended = self._run(["bash", "-euo", "pipefail", "-c", self.put_in(line)])
        assert ended.returncode == 0, f"{line}: {ended.stderr}"
        printed = ended.stdout
        for reported, real in self.names.items():
            printed = printed.replace(real, reported)
        return re.sub(rf"\b{re.escape(self._environment['USER'])}\b", "ada", printed)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.work,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )

    def put_in(self, code: str) -> str:
        """``code`` with what is really there."""
        for reported, real in self.names.items():
            code = code.replace(reported, real)
        return code

    def configure(self) -> None:
        """Let the user have said which service is meant."""
        self._environment["GOBBLER_URL"] = self._service.url

    def stop(self) -> None:
        self._service.stop()


class Printed(NamedTuple):
    """A command of a session: what the page shows, and what was printed."""

    line: str
    shown: str
    printed: str


START = "gobbler serve &"
MARK = "<<mark>>"


class Newcomer:
    """Somebody who has nothing: no service, no configuration, an empty directory."""

    def __init__(self, top: Path) -> None:
        self.home = top / "home"
        self.home.mkdir()
        self._user = own_name()

    def run(self, page: list[Example]) -> tuple[list[Printed], str]:
        """Run blocks in one shell; also what the service and the commands log."""
        with ReservedPort() as port:
            script, sessions = self._script(page, port.number)
            ended = subprocess.run(
                ["bash", "-c", script],
                cwd=self.home,
                env={
                    "LC_ALL": "C.UTF-8",
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "HOME": str(self.home),
                    # Another test may have the usual port.
                    "GOBBLER_URL": f"http://127.0.0.1:{port.number}",
                },
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                stdin=subprocess.DEVNULL,
            )
        out, log = (self._as_shown(text, port.number) for text in (ended.stdout, ended.stderr))
        assert ended.returncode == 0, out + log
        printed = out.split(f"{MARK}\n")[1::2]
        assert len(printed) == len(sessions)
        return [Printed(*step, text) for step, text in zip(sessions, printed, strict=True)], log

    def _script(self, page: list[Example], port: int) -> tuple[str, list[tuple[str, str]]]:
        lines, sessions = ["set -euo pipefail"], []
        for example in page:
            if example.kind == "console":
                for line, shown in steps(example):
                    lines += [f"echo '{MARK}'", line, f"echo '{MARK}'"]
                    sessions.append((line, shown))
            elif example.kind == "python":
                lines.append(f"python - <<'PYTHON'\n{example.code}PYTHON")
            else:
                lines.append(example.code)
        lines.append("kill %1 2>/dev/null || true; wait")
        listens = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
        started = f"gobbler serve --port {port} &\nuntil {listens}; do sleep 0.1; done"
        script = "\n".join(lines).replace(START, started)
        return script.replace("127.0.0.1:8080", f"127.0.0.1:{port}"), sessions

    def _as_shown(self, text: str, port: int) -> str:
        names = {str(self.home): "/home/ada", f"127.0.0.1:{port}": "127.0.0.1:8080"}
        for real, shown in names.items():
            text = text.replace(real, shown)
        return re.sub(rf"\b{re.escape(self._user)}\b", "ada", text)


@contextlib.contextmanager
def place(top: Path) -> Iterator[Place]:
    made = Place(top)
    try:
        yield made
    finally:
        made.stop()
