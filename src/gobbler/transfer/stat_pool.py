"""Looking at directories and files: one at a time, or many where each look takes long.

On a local disk a look takes microseconds, and threads would only be in each other's way. On
NFS or Lustre it takes a millisecond or so, most of which is waiting. Which of them it is shows
as soon as a few files have been looked at.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from gobbler.fs.latency import HIGH_LATENCY_SECONDS
from gobbler.fs.open import DIRECTORY

FIRST_LOOKS = 8
"""Looks from which it is told how long one takes."""

PART = 1000
"""Files that are looked at before the first of them is used."""

AHEAD = 64
"""Directories that are open before it is their turn, of all those that are being scanned."""

Look = os.stat_result | str
"""The text of what a directory tells to be a symbolic link; the status of anything else."""

Looks = dict[str, Look]


class Directory(NamedTuple):
    """An open directory: its ``names``, which of them are ``links``, and ``looks`` at some.

    ``links`` may lack some: not every filesystem tells.
    """

    descriptor: int
    names: list[str]
    links: set[str]
    looks: Looks

    @classmethod
    def read(cls, descriptor: int) -> Directory:
        """What is in an open directory; nothing was looked at yet."""
        names: list[str] = []
        links: set[str] = set()
        begun, tells = 0.0, True
        with os.scandir(descriptor) as entries:
            for entry in entries:
                names.append(entry.name)
                if tells:
                    begun = begun or time.monotonic()
                    with suppress(OSError):  # whoever looks at it meets the error
                        if entry.is_symlink():
                            links.add(entry.name)
                    if len(names) == FIRST_LOOKS:
                        # Where directories don't tell, that was a look at each, one by one.
                        tells = time.monotonic() - begun <= HIGH_LATENCY_SECONDS * FIRST_LOOKS
        return cls(descriptor, names, links, {})

    def look(self, name: str) -> Look:
        """Look at ``name``."""
        if name in self.links:
            return os.readlink(name, dir_fd=self.descriptor)
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def looks_at(self, names: list[str]) -> Looks:
        """Look at ``names``; what fails is left out."""
        found: Looks = {}
        for name in names:
            with suppress(OSError):  # whoever asks for this one meets the error
                found[name] = self.look(name)
        return found


class StatPool:
    """Looks at files and directories, with up to ``width`` threads. A context manager."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._pool: ThreadPoolExecutor | None = None
        self._looks = 0
        self._seconds = 0.0
        self._ahead = 0

    def __enter__(self) -> StatPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def look(self, directory: Directory, name: str) -> Look:
        """Look at ``name`` in an open directory."""
        if self._looks >= FIRST_LOOKS:
            return directory.look(name)
        begun = time.monotonic()
        try:
            return directory.look(name)
        finally:
            self._looks += 1
            self._seconds += time.monotonic() - begun

    @property
    def is_slow(self) -> bool:
        """Whether many should be looked at at a time."""
        slow = self._looks >= FIRST_LOOKS and self._seconds > HIGH_LATENCY_SECONDS * self._looks
        return slow and self._width > 1

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._width, thread_name_prefix="look")
        return self._pool

    def looks(self, directory: Directory, names: list[str]) -> Looks:
        """Look at ``names``, if looks are slow; what fails is left out."""
        if not self.is_slow or len(names) < 2:
            return {}
        each = -(-len(names) // self._width)
        parts = [names[i : i + each] for i in range(0, len(names), each)]
        found: Looks = {}
        begun = [self._threads().submit(directory.looks_at, part) for part in parts]
        try:
            for future in begun:
                found.update(future.result())
        finally:
            # After an error, too: the caller closes the directory, which threads may still use.
            wait([future for future in begun if not future.cancel()])
        return found

    def directories(self, parent: int, names: list[str]) -> Opening:
        """Ready to open ``names`` in the open directory ``parent`` in this order."""
        return Opening(self, parent, names)

    def ahead(self, parent: int, name: str) -> Future[Directory] | None:
        """Begin to open a directory, unless there are enough."""
        if self._ahead >= AHEAD:
            return None
        self._ahead += 1
        return self._threads().submit(_open, parent, name, with_looks=True)

    def ingested(self) -> None:
        """A directory that was opened ahead has had its turn."""
        self._ahead -= 1


class Opening:
    """Opens directories of one parent in order: ahead of time if looks are slow."""

    def __init__(self, looker: StatPool, parent: int, names: list[str]) -> None:
        self._looker = looker
        self._parent = parent
        self._names = deque(names)
        self._begun: dict[str, Future[Directory]] = {}

    def open(self, name: str) -> Directory:
        """Open the directory ``name``; its descriptor is the caller's to close."""
        if self._looker.is_slow:
            while self._names and (future := self._looker.ahead(self._parent, self._names[0])):
                self._begun[self._names.popleft()] = future
        begun = self._begun.pop(name, None)
        if begun is None:
            return _open(self._parent, name, with_looks=False)
        self._looker.ingested()
        return begun.result()

    def close(self) -> None:
        """Close those that were opened and not asked for."""
        while self._begun:
            _, future = self._begun.popitem()
            self._looker.ingested()
            if not future.cancel() and future.exception() is None:
                os.close(future.result().descriptor)


def _open(parent: int, name: str, *, with_looks: bool) -> Directory:
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        found = Directory.read(descriptor)
        if with_looks and len(found.names) <= FIRST_LOOKS:
            found = found._replace(looks=found.looks_at(found.names))
        return found
    except BaseException:
        os.close(descriptor)
        raise


def parts(names: list[str]) -> Iterator[list[str]]:
    """``names`` in parts of at most :data:`PART`; the first is for finding out what it takes."""
    yield names[:FIRST_LOOKS]
    for i in range(FIRST_LOOKS, len(names), PART):
        yield names[i : i + PART]


def is_directory(look: Look | None) -> bool:
    """Whether it was looked at, and is a directory."""
    return isinstance(look, os.stat_result) and stat.S_ISDIR(look.st_mode)
