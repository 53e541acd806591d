"""The services that are measured: ours, started here, or any that already runs."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from gobbler.client.testing import TestService

_numbers = itertools.count(1)


@dataclass
class Peer:
    """A service of the protocol. ``pid``: its first process, where it is known."""

    name: str
    url: str
    staging: Path
    registry: Path
    pid: int | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, action: str, **fields: object) -> dict[str, object]:
        """Have a request carried out; the answer. Raises if it is an error."""
        name = f"request-{action}-{os.getpid()}-{next(_numbers)}"
        path = self.staging / name
        path.write_text(json.dumps(fields))
        try:
            response = self.session.post(f"{self.url}/new/{name}")
        finally:
            path.unlink()
        answer: dict[str, object] = response.json()
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
