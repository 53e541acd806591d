"""A disk that is full to the last byte, or the last inode, is relieved by requests.

It holds registry and staging. Users write into files that they have there, for which there is room.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .serving import Service, wait_for
from .test_full_disk import UPLOAD, Disk, ask, mounted, service_on, stage

INODES = 1024

BLOCK = " " * 4096


def fill_bytes(disk: Disk) -> None:
    disk.leave(0)


def fill_inodes(disk: Disk) -> None:
    directory = disk.path / "many"
    directory.mkdir(exist_ok=True)
    with suppress(OSError):
        while True:
            (directory / os.urandom(8).hex()).touch()
    with pytest.raises(OSError, match="No space left"):
        (directory / "another").touch()


FILL: dict[str, Callable[[Disk], None]] = {"no byte": fill_bytes, "no inode": fill_inodes}

VERSION = {"project": "p", "asset": "a", "version": "beta"}

CHANGES = {
    "set_permissions": {"project": "p", "permissions": {"owners": ["someone"]}},
    "refresh_usage": {"project": "p"},
    "refresh_latest": {"project": "p", "asset": "a"},
    "approve_probation": VERSION,
}
"""They free nothing. So there is no room after them either."""

REMOVALS = {
    "reject_probation": {**VERSION, "version": "gamma"},
    "delete_version": {**VERSION, "version": "1"},
    "delete_asset": {"project": "p", "asset": "a"},
    "delete_project": {"project": "p"},
}


def reserves(service: Service) -> list[Path]:
    """The reserves, which a service fills beside the first requests."""
    return [service.world.registry / "..reserve", service.world.staging / "..requests/reserve"]


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For mounts."""
    return removed_by_us


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with mounted(request.param, tmp_path, inodes=INODES) as made:
        yield made


@pytest.fixture(params=FILL)
def fill(request: pytest.FixtureRequest, disk: Disk) -> Callable[[], None]:
    return lambda: FILL[request.param](disk)


@pytest.fixture
def service(disk: Disk, tmp_path: Path) -> Iterator[Service]:
    """A service whose registry has versions 1, beta and gamma."""
    with service_on(disk, tmp_path, staging_too=True) as service:
        wait_for(lambda: all(len([*each.glob("*")]) == 32 for each in reserves(service)))
        for version in ("1", "beta", "gamma"):
            stage(service.world, {"large": os.urandom(1 << 20), "small": version.encode()})
            payload = {**UPLOAD, "version": version, "on_probation": version != "1"}
            assert ask(service, "upload", payload).status == 200
        for action in ("create_project", *CHANGES, *REMOVALS):
            (service.world.staging / f"request-{action}-1").write_text(BLOCK)
        yield service


def test_it_is_relieved(service: Service, fill: Callable[[], None]) -> None:
    registry, staging = service.world.registry, service.world.staging
    fill()
    answer = service.ask_in_place(staging / "request-create_project-1", {"project": "q"})
    assert (answer.status, answer.code) == (500, "disk-full")
    assert "delete" in answer.reason
    for action, request in CHANGES.items():
        assert service.ask_in_place(staging / f"request-{action}-1", request).status == 200, action
        repeated = service.send("POST", f"/new/request-{action}-1")
        assert repeated.code == "repeated-request", action
        again = service.ask_in_place(staging / f"request-{action}-1", request)
        assert again.status == 200 or action == "approve_probation"
    for action, request in REMOVALS.items():
        fill()
        answer = service.ask_in_place(staging / f"request-{action}-1", request)
        assert answer.status == 200, (action, answer)
        assert not Path(registry, *request.values()).exists()
    for reserve in reserves(service):
        assert len(os.listdir(reserve)) == 32
    assert "Traceback" not in service.output.read_text()


def test_it_is_relieved_by_a_job_after_a_restart(
    service: Service, fill: Callable[[], None]
) -> None:
    fill()
    service.kill()
    again = Service(service.world, jobs=1)
    try:
        mark = again.world.staging / "request-delete_version-1"
        answer = again.ask_in_place(mark, REMOVALS["delete_version"], "?wait=false")
        assert answer.status == 202, answer
        job = f"/jobs/{answer.fields['job']}"
        wait_for(lambda: "answer" in again.send("GET", job).fields)
        assert again.send("GET", job).fields["answer"]["status"] == "SUCCESS"
        assert not Path(again.world.registry, *REMOVALS["delete_version"].values()).exists()
        assert "Traceback" not in again.output.read_text()
    finally:
        again.kill()
