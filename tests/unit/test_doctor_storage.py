"""Space and inodes on small real disks; flushing; copies that the kernel makes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gobbler.doctor import storage
from gobbler.doctor.findings import Verdict

from .doctoring import FAULT, OK, TOPIC, WARNING, World, fill, mounted, new_world, small


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def test_a_small_disk_runs_full(world: World) -> None:
    path = world.registry.path
    with small(path):
        found = storage.space(TOPIC, world.registry)
        assert found.verdict is WARNING, "less than a gibibyte"
        assert found.sentence == "only 1.0 MB of 1.0 MB free"
        fill(path)
        found = storage.space(TOPIC, world.registry)
        assert (found.verdict, found.refused) == (FAULT, False)
        assert f"{path} is full" in found.sentence


def test_a_small_disk_runs_out_of_inodes(world: World) -> None:
    path = world.registry.path
    with small(path, more=",nr_inodes=50"):
        assert storage.inodes(TOPIC, world.registry).verdict is OK
        for number in range(48):
            Path(path, str(number)).write_text("")
        assert storage.inodes(TOPIC, world.registry).verdict is WARNING
        Path(path, "last").write_text("")
        found = storage.inodes(TOPIC, world.registry)
        assert (found.verdict, found.refused) == (FAULT, False)
        assert "no inodes left" in found.sentence


GIBIBYTE = 1 << 30


@pytest.mark.parametrize(
    ("free", "total", "verdict"),
    [
        (50, 100, OK),
        (5, 100, OK),
        (4, 100, WARNING),
        (1, 2, OK),
        (0.9, 2, WARNING),
        (0, 100, FAULT),
        (0, 0, OK),
    ],
)
def test_how_much_space_is_enough(world: World, free: float, total: int, verdict: Verdict) -> None:
    def look(path: str) -> SimpleNamespace:
        return SimpleNamespace(
            f_bavail=int(free * GIBIBYTE / 4096), f_blocks=total * GIBIBYTE // 4096, f_frsize=4096
        )

    assert storage.space(TOPIC, world.registry, look).verdict is verdict


def test_a_filesystem_without_a_number_of_inodes_has_enough(world: World) -> None:
    found = storage.inodes(TOPIC, world.registry, lambda _: SimpleNamespace(f_files=0, f_favail=0))
    assert found.verdict is OK


def test_flushing_works_and_keeps_nothing_open(world: World) -> None:
    with small(world.registry.path):  # can't be unmounted otherwise
        assert storage.flushing(TOPIC, world.registry.path).verdict is OK


@pytest.mark.parametrize("call", ["fsync", "syncfs"])
def test_flushing_that_fails_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(descriptor: int) -> int:
        if call == "fsync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        storage.ctypes.set_errno(errno.EIO)
        return -1

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(storage, "_libc", SimpleNamespace(syncfs=fail))
    found = storage.flushing(TOPIC, str(tmp_path))
    assert found.verdict is FAULT
    assert "Input/output error" in found.sentence


def test_copies_are_left_to_the_kernel_where_it_can(tmp_path: Path) -> None:
    found = storage.copying_inside(TOPIC, str(tmp_path))
    assert found.verdict is OK


def test_a_filesystem_that_shares_blocks_is_found_out(world: World) -> None:
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("there is no mkfs.xfs: install the package xfsprogs")
    image = world.top / "image"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    with mounted(world.registry.path, "-o", "loop", str(image)):
        inside = storage.copying_inside(TOPIC, world.registry.path)
        Path(world.registry.path, "copy").unlink()
        across = storage.copying(TOPIC, world.staging.path, world.registry.path)
    assert inside.sentence == "copies can share their blocks (reflink)"
    assert "reflink)" not in across.sentence


def test_a_filesystem_that_leaves_all_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(storage.fcntl, "ioctl", fail)
    monkeypatch.setattr(os, "copy_file_range", fail)
    found = storage.copying_inside(TOPIC, str(tmp_path))
    assert found.verdict is OK
    assert "neither" in found.sentence


def test_a_kernel_that_only_claims_to_copy_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 4096)
    assert storage.copying_inside(TOPIC, str(tmp_path)).verdict is WARNING


def test_a_failure_of_the_disk_is_no_missing_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "copy_file_range", fail)
    found = TOPIC.attempt(storage.copying_inside, str(tmp_path))
    assert found.verdict is FAULT


def test_a_filesystem_that_others_fill_is_named(world: World, tmp_path: Path) -> None:
    here = str(tmp_path)
    found = storage.neighbours(TOPIC, world.registry, ["/proc", here, "/nowhere"])
    assert found.verdict is OK
    shares = os.stat(world.registry.path).st_dev == os.stat(here).st_dev
    assert (here in found.sentence) is shares
    assert "/proc" not in found.sentence
    alone = storage.neighbours(TOPIC, world.registry, ["/proc"])
    assert "of its own" not in alone.sentence
