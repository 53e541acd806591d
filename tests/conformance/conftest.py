"""The service under test, and what its tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from .accounts import ALICE, BOB, CAROL, ensure_accounts
from .launch import Process, new_directories
from .service import Service

SPOOF = f"""\
{BOB}:{CAROL}
{BOB}:{ALICE}
{BOB}:
{CAROL}:*,-{BOB}
"""


@dataclass(frozen=True)
class OwnService:
    """Facts of the command line of a service that the suite has started itself."""

    service: Service
    process: Process
    whitelisted: Path


@pytest.fixture(scope="session")
def _started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service | OwnService]:
    url = request.config.getoption("--service-url")
    if url is not None:
        service = _given(request.config, url)
        yield service
        service.close()
        return
    directory = tmp_path_factory.mktemp("own")
    staging, registry = new_directories(directory)
    whitelisted = directory / "archive"
    whitelisted.mkdir()
    (directory / "whitelist").write_text(f"{whitelisted}\n{directory / 'absent'}/\n")
    (directory / "spoof").write_text(SPOOF)
    files = [f"--{name}={directory / name}" for name in ("whitelist", "spoof")]
    with Process(staging, registry, flags=files) as process:
        own = OwnService(Service(process.url, staging, registry), process, whitelisted)
        yield own
        own.service.http.close()


def _given(config: pytest.Config, url: str) -> Service:
    info = requests.get(url.rstrip("/") + "/info", timeout=30).json()
    staging = config.getoption("--staging") or info["staging"]
    registry = config.getoption("--registry") or info["registry"]
    return Service(url, Path(staging), Path(registry))


@pytest.fixture(scope="session")
def service(_started: Service | OwnService) -> Service:
    """The service under test."""
    return _started.service if isinstance(_started, OwnService) else _started


@pytest.fixture(scope="session")
def own(_started: Service | OwnService) -> OwnService:
    """The service under test, where its command line is known."""
    if not isinstance(_started, OwnService):
        pytest.skip("needs facts of the service's command line, which is not ours")
    return _started


@pytest.fixture(scope="session")
def accounts() -> None:
    """The Unix accounts of :mod:`.accounts`; no administrators."""
    ensure_accounts()


@pytest.fixture
def project(service: Service) -> str:
    """A new project of the present user."""
    return service.new_project()


@pytest.fixture
def passing_project(service: Service) -> Iterator[str]:
    """A new project that is deleted afterwards: damage in it would be in others' way."""
    project = service.new_project()
    yield project
    service.succeed("delete_project", {"project": project})


@pytest.fixture
def writable_registry(service: Service) -> Path:
    """The registry, where this test may put files by hand, as an administrator would."""
    if not os.access(service.registry, os.W_OK):
        pytest.skip("needs write access to the registry")
    return service.registry


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_making(
    _started: Service | OwnService, service: Service
) -> Iterator[None]:
    """Whatever a test asked for: versions are built out of sight, and nothing stays there."""
    yield
    if isinstance(_started, OwnService):
        _started.process.must_live()
    service.check_nothing_is_left_in_the_making()
