"""A bench to try operations at, where system calls can be traced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .operations import make_template
from .tracing import why_not
from .trying import Bench
from .world import World


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """A bench, in memory where that can be had."""
    if problem := why_not():
        pytest.skip(f"system calls can't be traced here: {problem}")
    memory = "/dev/shm"
    inside = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=inside, prefix="gobbler-syscalls-") as directory:
        os.chmod(directory, 0o755)  # as the directories of a registry are
        template = World(Path(directory) / "template")
        make_template(template, Path(directory) / "archive")
        bench = Bench(Path(directory) / "bench", template)
        yield bench
        bench.stop()
