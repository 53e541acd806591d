"""Run directories: where a batch that may run twice writes.

A remote executor may run a batch twice, even at the same time: it repeats the batch when a
process seems dead, and that process may still go on. A run that wrote into the tree could then
change a file that another run has completed, or even a published one. So each run has a directory
of its own, with a random name that no other run knows::

    ..incoming/{workspace}/
        tree/               changed by the dispatching process alone
        apart-{random}/     for one dispatch of batches
            {random}/       for one run of a batch; its files are 0, 1, 2, ...

The dispatching process accepts one result of each batch, after that run has closed its files, and
renames these into the tree. It removes ``apart-{random}`` with the files of all other runs, which
end when they find it gone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.flush import Durability, flush_tree
from gobbler.fs.open import closing, open_directory
from gobbler.fs.removal import remove_tree
from gobbler.registry.workspace import Workspace, workspace_gone

RUN_DIRECTORIES_PREFIX = "apart-"

MOVERS = 8
"""Threads that rename files into place."""


class RunResult(NamedTuple):
    """The result of a run: file names in its ``directory``, by the path of each in the tree.

    ``drop``: files in the tree that are damaged or no longer needed.
    """

    directory: str
    names: dict[str, str]
    drop: list[str]


class RunDirectory:
    """The open run directory at ``path``."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._names: dict[str, str] = {}
        self._drop: list[str] = []

    def place(self, file: str) -> tuple[int, str]:
        """The open directory, and the name in it, for the content of ``file``."""
        name = self._names.setdefault(file, str(len(self._names)))
        return self._descriptor, name

    def drop(self, file: str) -> None:
        """Mark ``file`` for removal from the tree."""
        self._drop.append(file)

    def result(self) -> RunResult:
        """The result of the run."""
        return RunResult(self.path, self._names, self._drop)


@contextmanager
def run_directory(run_directories_path: str, *, flush: bool) -> Iterator[RunDirectory]:
    """Make a run directory in ``run_directories_path``.

    With ``flush``, its content is on disk after the block: the dispatching process can't flush
    the memory of another host. Raises :class:`~gobbler.errors.Cancelled` if
    ``run_directories_path`` is gone.
    """
    path = f"{run_directories_path}/{secrets.token_hex(8)}"
    try:
        os.mkdir(path, DIRECTORY_MODE)
        descriptor = open_directory(path)
    except FileNotFoundError:
        raise workspace_gone(run_directories_path) from None
    with closing(descriptor):
        yield RunDirectory(path, descriptor)
    if flush:
        flush_tree(path, Durability.FULL)


@contextmanager
def run_directories(workspace: Workspace) -> Iterator[str]:
    """A directory in ``workspace`` for run directories; removed after the block."""
    path = f"{workspace.path}/{RUN_DIRECTORIES_PREFIX}{secrets.token_hex(8)}"
    os.mkdir(path, DIRECTORY_MODE)
    try:
        yield path
    finally:
        remove_run_directories(path)


def remove_run_directories(path: str) -> None:
    """Remove a directory of :func:`run_directories`, which cancels the batches that use it.

    Files that a run adds meanwhile may remain until the workspace is removed.
    """
    with suppress(OSError):
        remove_tree(path)


def put_in_place(made: RunResult, top: str) -> None:
    """Rename the files of an accepted run to their paths below ``top``."""
    files = list(made.names.items())

    def rename(part: list[tuple[str, str]]) -> None:
        for file, name in part:
            os.rename(f"{made.directory}/{name}", f"{top}/{file}")

    for file in made.drop:
        with suppress(FileNotFoundError):
            os.unlink(f"{top}/{file}")
    # On a network filesystem a rename takes a millisecond.
    with ThreadPoolExecutor(MOVERS) as movers:
        for _ in movers.map(rename, [files[i::MOVERS] for i in range(MOVERS)]):
            pass
