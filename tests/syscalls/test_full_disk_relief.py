"""A disk that is full to the last byte, or the last inode, is relieved by removals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .judging import service_findings, stray_findings
from .serving import Service
from .test_full_disk import UPLOAD, Disk, ask, mounted, service_on, stage

INODES = 512


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with mounted(request.param, tmp_path, inodes=INODES) as made:
        yield made


def fill_bytes(disk: Disk) -> None:
    disk.leave(0)


def fill_inodes(disk: Disk) -> None:
    directory = disk.path / "many"
    directory.mkdir()
    with suppress(OSError):
        for number in range(10 * INODES):
            (directory / str(number)).touch()
    with pytest.raises(OSError, match="No space left"):
        (directory / "another").touch()


FILL: dict[str, Callable[[Disk], None]] = {"no byte": fill_bytes, "no inode": fill_inodes}

REMOVALS = {
    "reject_probation": {"project": "p", "asset": "a", "version": "beta"},
    "delete_version": {"project": "p", "asset": "a", "version": "1"},
    "delete_asset": {"project": "p", "asset": "a"},
    "delete_project": {"project": "p"},
}


@pytest.fixture(params=FILL)
def full(request: pytest.FixtureRequest, disk: Disk, tmp_path: Path) -> Iterator[Service]:
    """A service whose registry has versions 1, 2 and beta, and no room."""
    with service_on(disk, tmp_path, staging_too=False) as service:
        for version in ("1", "2", "beta"):
            stage(service.world, {"large": os.urandom(3 << 20), "small": version.encode()})
            payload = {**UPLOAD, "version": version, "on_probation": version == "beta"}
            assert ask(service, "upload", payload).status == 200
        FILL[request.param](disk)
        yield service


@pytest.mark.parametrize("action", REMOVALS)
def test_a_removal_frees_it(full: Service, action: str) -> None:
    assert ask(full, "create_project", {"project": "q"}).status == 500
    answer = ask(full, action, REMOVALS[action])
    assert answer.status == 200, answer
    names = REMOVALS[action].values()
    assert not Path(full.world.registry, *names).exists()
    assert len(os.listdir(full.world.registry / "..reserve")) == 32
    if action != "delete_project":
        assert [*service_findings(full), *stray_findings(full.world)] == []


def test_they_work_one_after_the_other(full: Service) -> None:
    for action, request in REMOVALS.items():
        assert ask(full, action, request).status == 200
    assert list(stray_findings(full.world)) == []


def test_a_service_starts_there(full: Service) -> None:
    full.kill()
    again = Service(full.world)
    try:
        assert ask(again, "delete_version", REMOVALS["delete_version"]).status == 200
        assert [*service_findings(again), *stray_findings(full.world)] == []
    finally:
        again.kill()
