"""Examples of the docs: finding them, and a place in which they can be run."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gobbler.client import Client
from gobbler.client.testing import TestService

ROOT = Path(__file__).parents[2]

PATIENCE = 120
"""Seconds that one example may take, on a busy machine."""

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>.+?) -->\n)?"
    r"^ *```(?P<kind>\w+)\n(?P<code>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


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


class Place:
    """What the pages tell of: a service, a project with versions, and a user's files."""

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
        }
        self._environment = {
            "LC_ALL": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "USER": pwd.getpwuid(os.geteuid()).pw_name,
            "SLURM_JOB_ID": "4711",
            "XDG_CONFIG_DIRS": str(top / "site"),
        }
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
        else:
            command = ["bash", "-euo", "pipefail", "-c", code]
        return self._run(command)

    def shell(self, line: str) -> str:
        """What a line prints, with the names that the pages have for things."""
        ended = self._run(["bash", "-euo", "pipefail", "-c", self.put_in(line)])
        assert ended.returncode == 0, f"{line}: {ended.stderr}"
        printed = ended.stdout
        for told, real in self.names.items():
            printed = printed.replace(real, told)
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
        for told, real in self.names.items():
            code = code.replace(told, real)
        return code

    def configure(self) -> None:
        """Let the user have said which service is meant."""
        self._environment["GOBBLER_URL"] = self._service.url

    def stop(self) -> None:
        self._service.stop()


@contextlib.contextmanager
def place(top: Path) -> Iterator[Place]:
    made = Place(top)
    try:
        yield made
    finally:
        made.stop()
