"""A real, small disk that runs full in the midst of a change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .judging import service_findings, stray_findings
from .serving import Answer, Service
from .world import World

SIZE = 16 << 20
"""Bytes on the disk."""

PART = 64 << 10
"""Bytes of one file."""

MANY = {f"d/{number:02}": os.urandom(PART) for number in range(32)}
LARGE = {"small": b"1", "large": os.urandom(6 << 20)}

UPLOAD = {"project": "p", "asset": "a", "version": "1", "source": "source"}


class Disk:
    """A mounted disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def leave(self, size: int) -> None:
        """Fill the disk but for ``size`` bytes."""
        with self._filler.open("wb", buffering=0) as handle:
            for block in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while handle.write(b"\0" * block):
                        pass
            os.fsync(handle.fileno())
            handle.truncate(max(0, handle.tell() - size))

    def free(self) -> None:
        """Free the space again."""
        self._filler.unlink()


@contextmanager
def mounted(kind: str, directory: Path, *, inodes: int = 1024) -> Iterator[Disk]:
    """A disk of :data:`SIZE` bytes, mounted during the block."""
    path = directory / "disk"
    path.mkdir()
    if kind == "tmpfs":
        options = f"size={SIZE},nr_inodes={inodes}"
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
    else:
        image = directory / "image"
        with image.open("wb") as handle:
            handle.truncate(SIZE)
        _run(["mkfs.ext4", "-q", "-m", "0", "-N", str(inodes), str(image)])
        command = ["mount", "-o", "loop", str(image), str(path)]
    _run(command)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def tmp_path(removed_by_us: Path) -> Path:
    """For mounts."""
    return removed_by_us


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with mounted(request.param, tmp_path) as made:
        yield made


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"can't mount a disk here: {error}")


@contextmanager
def service_on(disk: Disk, tmp_path: Path, *, staging_too: bool) -> Iterator[Service]:
    world = World(tmp_path)
    world.registry = disk.path / "registry"
    if staging_too:
        world.staging = disk.path / "staging"
    world.make()
    service = Service(world)
    try:
        assert ask(service, "create_project", {"project": "p"}).status == 200
        yield service
    finally:
        service.kill()


def stage(world: World, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        place = world.staging / "source" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def ask(service: Service, action: str, request: dict[str, object]) -> Answer:
    answer = service.ask(action, request)
    assert answer is not None
    return answer


@pytest.mark.parametrize("consume", [False, True], ids=["copied", "consumed"])
@pytest.mark.parametrize("files", [MANY, LARGE], ids=["many-files", "large-file"])
def test_an_upload_that_does_not_fit(
    disk: Disk, tmp_path: Path, files: dict[str, bytes], consume: bool
) -> None:
    request = {**UPLOAD, "consume": consume}
    with service_on(disk, tmp_path, staging_too=False) as service:
        world = service.world
        stage(world, files)
        before, sources = world.published(), world.sources()
        disk.leave(1 << 20)
        answer = ask(service, "upload", request)
        assert answer.status == 500
        if consume:  # perhaps without copies
            assert "could not copy" in answer.reason
            assert any(f'"source/{path}"' in answer.reason for path in files)
            assert "No space left on device" in answer.reason
        else:
            assert f"needs {sum(map(len, files.values()))} bytes" in answer.reason
            assert "bytes free" in answer.reason
        assert (world.published(), world.sources()) == (before, sources)
        assert list(stray_findings(world)) == []
        disk.free()
        must_succeed(service, request, files)
        assert world.sources().keys() == (
            {path for path, facts in sources.items() if len(facts) == 2}
            if consume
            else sources.keys()
        )


def must_succeed(service: Service, request: dict[str, object], files: dict[str, bytes]) -> None:
    world = service.world
    assert ask(service, "upload", request) == Answer(200, {"status": "SUCCESS"})
    assert world.content() == {f"p/a/1/{path}": content for path, content in files.items()}
    assert [*service_findings(service), *stray_findings(world)] == []


def test_no_room_for_the_records_of_files_that_are_moved(disk: Disk, tmp_path: Path) -> None:
    request = {**UPLOAD, "consume": True}
    with service_on(disk, tmp_path, staging_too=True) as service:
        world = service.world
        stage(world, MANY)
        before, sources = world.published(), world.sources()
        failed = 0
        for blocks in range(24):
            disk.leave(blocks * 4096)
            try:
                answer = service.ask("upload", request)
            except OSError:  # not even the request could be written
                continue
            finally:
                disk.free()
            assert answer is not None
            if not answer.reason:
                break
            failed += 1
            assert "could not" in answer.reason
            assert "No space left on device" in answer.reason
            assert (world.published(), world.sources()) == (before, sources), answer
            assert list(stray_findings(world)) == []
            assert_not_shared(world)
        assert failed
        if answer.reason:
            must_succeed(service, request, MANY)
        assert [*service_findings(service), *stray_findings(world)] == []
        assert [facts for facts in world.sources().values() if len(facts) > 2] == []


def assert_not_shared(world: World) -> None:
    for path in (world.staging / "source").rglob("*"):
        assert path.is_dir() or path.stat().st_nlink == 1


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("create_project", {"project": "q"}),
        ("set_permissions", {"project": "p", "permissions": {"owners": ["someone"]}}),
        ("approve_probation", {"project": "p", "asset": "a", "version": "1"}),
        ("reject_probation", {"project": "p", "asset": "a", "version": "1"}),
        ("delete_asset", {"project": "p", "asset": "a"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_room_for_records(
    disk: Disk, tmp_path: Path, action: str, request_: dict[str, object]
) -> None:
    with service_on(disk, tmp_path, staging_too=False) as service:
        world = service.world
        stage(world, LARGE)
        assert ask(service, "upload", {**UPLOAD, "on_probation": True}).status == 200
        before = world.published()
        disk.leave(0)
        answer = ask(service, action, request_)
        if answer.reason:  # small enough, some filesystems keep a record with its directory
            assert "could not" in answer.reason
            assert "No space left on device" in answer.reason
            assert world.published() == before
        assert list(stray_findings(world)) == []
        disk.free()
        if answer.reason:
            assert ask(service, action, request_).status == 200
        assert [*service_findings(service), *stray_findings(world)] == []
