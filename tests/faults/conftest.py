"""The operations as a parameter, and a world in which each can be done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .changes import OPERATIONS
from .operations import Operation
from .world import World


@pytest.fixture(params=OPERATIONS, ids=str)
def operation(request: pytest.FixtureRequest) -> Operation:
    """One operation."""
    found: Operation = request.param
    if found.uid is not None and os.geteuid() != 0:
        pytest.skip("needs a source of another account, which only root can make")
    return found


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Path]:
    """A directory for many copies of a world: in memory where that can be had."""
    memory = "/dev/shm"
    inside = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=inside, prefix="gobbler-faults-") as directory:
        yield Path(directory)


@pytest.fixture
def template(operation: Operation, worlds: Path) -> World:
    """A world in which the operation can be done; to be copied."""
    world = World(worlds / "template")
    operation.prepare(world)
    return world
