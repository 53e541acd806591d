"""Directories as a service needs them, and mounts, to be spoiled by tests of the doctor."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from gobbler.doctor.findings import Finding, Place, Topic, Verdict
from gobbler.doctor.host import as_account

T = TypeVar("T")

OK, WARNING, FAULT = Verdict.OK, Verdict.WARNING, Verdict.FAULT

TOPIC = Topic("registry", "tested")


@dataclass(frozen=True)
class World:
    """Two good directories below ``top``, which everybody can enter."""

    top: Path

    @property
    def staging(self) -> Place:
        return Place("staging", str(self.top / "staging"))

    @property
    def registry(self) -> Place:
        return Place("registry", str(self.top / "registry"))


@contextmanager
def new_world() -> Iterator[World]:
    """Not in pytest's own directory, which only its account can enter."""
    with tempfile.TemporaryDirectory(prefix="gobbler-doctor-") as made:
        top = Path(made)
        top.chmod(0o755)
        for name, mode in (("staging", 0o1733), ("registry", 0o755)):
            (top / name).mkdir()
            (top / name).chmod(mode)
        yield World(top)


@contextmanager
def mounted(target: str | Path, *options: str) -> Iterator[None]:
    """Mount something at ``target`` during the block: ``options`` are those of ``mount``."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount something")
    done = subprocess.run(["mount", *options, str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


def small(target: str | Path, size: str = "1m", more: str = "") -> object:
    """A memory of limited size, mounted at ``target`` during the block."""
    return mounted(target, "-t", "tmpfs", "-o", f"mode=0755,size={size}{more}", "none")


def fill(directory: str) -> None:
    """Leave no space in the filesystem of ``directory``."""
    room = os.statvfs(directory)
    with Path(directory, "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)


def verdicts(findings: list[Finding]) -> dict[tuple[str, str], Verdict]:
    """The verdict about each thing that is not quite right."""
    return {(f.where, f.what): f.verdict for f in findings if f.verdict is not OK}


def as_nobody(function: Callable[..., T], *args: object) -> T:
    """Call a function of a module as an account that owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root to act for another account")
    return as_account("nobody", function, *args)
