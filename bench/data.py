"""Directories to be published."""

from __future__ import annotations

import os
import random
from pathlib import Path


def small_files(top: Path, files: int, size: int, *, in_each: int = 1000, seed: int = 0) -> Path:
    """``files`` of ``size`` bytes, ``in_each`` of them in a directory; no two alike."""
    random_ = random.Random(seed)
    for number in range(files):
        directory = top / f"d{number // in_each}"
        if number % in_each == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number}").write_bytes(random_.randbytes(size))
    return top


def one_file(top: Path, size: int) -> Path:
    """A directory with one file of ``size`` bytes."""
    top.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with (top / "file").open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
    return top


def clone(top: Path, version: Path) -> Path:
    """A directory with a link for each file of a version."""
    for path in version.rglob("*"):
        if path.is_file() and not path.name.startswith(".."):
            link = top / path.relative_to(version)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return top
