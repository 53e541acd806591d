"""What tests of verifying all versions have in common: versions, and damage to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gobbler.client import Client
from gobbler.client.bulk.run import NoBulkProgress
from gobbler.client.testing import TestService

COUNT = 6


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def published(client, project, source):
    """Versions 1 to 3 of the assets ``a`` and ``b``; 2 and 3 are links to 1."""
    for asset in "ab":
        for version in "123":
            client.upload(project, asset, version, source)
    yield project
    # Nobody else's listing of the registry should meet what was damaged.
    client.admin.delete_project(project)


@pytest.fixture(params=["local", "remote"])
def reader(request, client, remote, service) -> Client:
    if request.param == "local":
        return client
    return Client(service.url, staging=service.staging, force_remote=True)


def damage(service: TestService, version: str) -> None:
    Path(service.registry, version, "foo").write_text("quite another size")


class Notes(NoBulkProgress):
    """Keeps what a bulk run reports."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = [0, 0, 0]
        self.expected: tuple[int, int | None] | None = None

    def expect_versions(self, versions, size):
        self.expected = versions, size

    def advance_versions(self, versions):
        self._add(versions, 0, 0)

    def advance(self, files, size):
        self._add(0, files, size)

    def _add(self, *more):
        self.done = [a + b for a, b in zip(self.done, more, strict=True)]

    def note(self, text):
        self.notes.append(text)
