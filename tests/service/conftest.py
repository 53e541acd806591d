"""The real service, in a process of its own, and projects that nobody else uses."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gobbler.cli import main
from gobbler.client import Client
from gobbler.client.testing import TestService


@pytest.fixture(scope="session")
def service() -> Iterator[TestService]:
    """One service for all tests, with ``.url``, ``.staging`` and ``.registry``."""
    running = TestService()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _show_the_log_of_the_service(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a test fails, pytest shows what the service has said lately."""
    yield
    if "service" in request.fixturenames:
        print(request.getfixturevalue("service").output())


@pytest.fixture
def client(service: TestService) -> Client:
    return Client(service.url, staging=service.staging, registry=service.registry)


@pytest.fixture
def remote(service: TestService, tmp_path: Path) -> Client:
    """Reads over HTTP, into a cache of its own."""
    return Client(service.url, cache=tmp_path / "cache", force_remote=True)


_numbers = itertools.count(1)


@pytest.fixture
def project(client: Client) -> str:
    """The name of a new project."""
    name = f"project-{next(_numbers)}"
    client.admin.create_project(name)
    return name


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with files, a file deeper in, and empty directories."""
    made = tmp_path / "source"
    (made / "whee").mkdir(parents=True)
    (made / "chihaya" / "kisaragi").mkdir(parents=True)
    (made / "foo").write_text("BAR")
    (made / "whee" / "blah").write_text("stuff")
    (made / "whee2").write_text("ABCDEFGHIJK")
    return made


@pytest.fixture
def nothing_left_in_staging(service: TestService) -> Iterator[None]:
    """Holds that a test leaves staging as it was."""
    before = sorted(os.listdir(service.staging))
    yield
    after = sorted(os.listdir(service.staging))
    for name in set(after) - set(before):
        shutil.rmtree(Path(service.staging, name), ignore_errors=True)
    assert after == before


@pytest.fixture
def run(service: TestService, capsys, monkeypatch, tmp_path):
    """Run a command; answer its exit code, standard output and standard error."""
    monkeypatch.setenv("GOBBLER_URL", service.url)
    monkeypatch.setenv("GOBBLER_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def as_json(run):
    def as_json(*words: object):
        code, out, err = run(*words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return as_json
