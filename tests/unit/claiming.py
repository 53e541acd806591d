"""A FileStore whose files are claimed, by this process and by others."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gobbler.filestore import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


def put(store: FileStore, *names: str) -> None:
    for name in names:
        with store.publish(name) as file:
            file.write(name)


def inside(store: FileStore, space: str) -> list[str]:
    if space == "aside":  # no space of the store: no process takes files from there
        return sorted(os.listdir(Path(store.path, space)))
    return [os.path.basename(path) for path in store.list(space)]


def everything(store: FileStore) -> list[str]:
    return [name for space in store.sub_dirs for name in os.listdir(Path(store.path, space))]


def in_a_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own, which ends as if it were killed; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
