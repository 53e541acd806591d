"""Files of batches that may be run more than once, even at the same time.

::

    ..incoming/{job}/
        tree/               changed by none but the one who hands out
        apart-{random}/     made for each time that batches are handed out
            {random}/       made by each run of a batch, for its files: 0, 1, 2, ...

An executor elsewhere runs a batch anew when a process of its seems to be dead; the process may
go on all the same. A run that wrote into the tree could so change a file that another run
has completed, or one of a version that is published. Hence a run knows no place but
a directory that nobody else has the name of. The one who handed the batch out takes one
result, which comes when that run has closed its files for good, and renames these into place.
Whatever other runs make goes with ``apart-{random}``; they end when they find it gone.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

from gobbler.errors import Cancelled, Code
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.flush import Durability, flush_filesystem
from gobbler.fs.open import closing, exists, open_directory
from gobbler.fs.removal import remove_tree
from gobbler.model.progress import Progress
from gobbler.registry.workspace import Workspace

PREFIX = "apart-"

MOVERS = 8
"""Threads that rename files into place."""


CHECK_EVERY = 0.2
"""Seconds between two checks of whether the job of a batch was cancelled."""


class BatchProgress:
    """What a running batch reports, and how it learns that its job was cancelled.

    It is the progress and the cancel token of the batch, in whatever process that runs. The
    job was cancelled when ``path`` is gone: the tree, or the directory of the runs.
    """

    def __init__(self, path: str, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._part = 0
        self._next = 0.0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the dispatcher knows the total."""

    def advance(self, files: int, size: int) -> None:
        """Count ``size`` more bytes of the file that is being read.

        Raises :class:`~gobbler.errors.Cancelled` if the job was cancelled.
        """
        self._part += size
        self._progress.advance(files, size)
        self.check()

    def end_file(self, size: int) -> None:
        """Count one file of ``size`` bytes, however often it was read."""
        self._progress.advance(1, size - self._part)
        self._part = 0

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the job was cancelled."""
        now = time.monotonic()
        if now >= self._next:
            if not exists(self._path):
                raise _workspace_gone(self._path)
            self._next = now + CHECK_EVERY


def _workspace_gone(path: str) -> Cancelled:
    # Seen by nobody if this job was cancelled: the error that cancelled it is raised.
    return Cancelled(f"{path} is gone: another process removed it", code=Code.CONTENTION)


class Made(NamedTuple):
    """What a run has made: names in its ``directory`` by what each is the file of.

    ``drop``: files in the tree that it found to be damaged, or needed no more.
    """

    directory: str
    names: dict[str, str]
    drop: list[str]


class Own:
    """The open directory of one run; its ``path``."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._names: dict[str, str] = {}
        self._drop: list[str] = []

    def place(self, file: str) -> tuple[int, str]:
        """The open directory, and the name in it, for what is to become ``file``."""
        name = self._names.setdefault(file, str(len(self._names)))
        return self._descriptor, name

    def drop(self, file: str) -> None:
        """What stands in the tree as ``file`` is not to stay."""
        self._drop.append(file)

    def made(self) -> Made:
        """What was made."""
        return Made(self.path, self._names, self._drop)


@contextmanager
def run_directory(run_directories_path: str, *, flush: bool) -> Iterator[Own]:
    """A directory of this run's own in ``run_directories_path``.

    With ``flush``, all that was written there is on disk after the block: whoever handed
    the batch out can't flush what another host has in its memory.

    Raises :class:`~gobbler.errors.Cancelled` if ``run_directories_path`` is gone: nobody wants
    the result.
    """
    path = f"{run_directories_path}/{secrets.token_hex(8)}"
    try:
        os.mkdir(path, DIRECTORY_MODE)
        descriptor = open_directory(path)
    except FileNotFoundError:
        raise _workspace_gone(run_directories_path) from None
    with closing(descriptor):
        yield Own(path, descriptor)
    if flush:
        flush_filesystem(run_directories_path, Durability.FULL)


@contextmanager
def run_directories(workspace: Workspace) -> Iterator[str]:
    """A directory in ``workspace`` for runs of batches, as long as the block lasts."""
    path = f"{workspace.path}/{PREFIX}{secrets.token_hex(8)}"
    os.mkdir(path, DIRECTORY_MODE)
    try:
        yield path
    finally:
        remove_run_directories(path)


def remove_run_directories(path: str) -> None:
    """Remove a directory of :func:`run_directories`, and so end what still runs for it.

    What a run adds meanwhile may be left; it then goes with the job.
    """
    with suppress(OSError):
        remove_tree(path)


def put_in_place(made: Made, top: str) -> None:
    """Rename the files of an accepted run to where they belong, relative to ``top``."""
    files = list(made.names.items())

    def rename(part: list[tuple[str, str]]) -> None:
        for file, name in part:
            os.rename(f"{made.directory}/{name}", f"{top}/{file}")

    for file in made.drop:
        with suppress(FileNotFoundError):
            os.unlink(f"{top}/{file}")
    # A file is renamed in a millisecond where it is shared with other hosts.
    with ThreadPoolExecutor(MOVERS) as movers:
        for _ in movers.map(rename, [files[i::MOVERS] for i in range(MOVERS)]):
            pass
