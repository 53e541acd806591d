"""``stat`` and ``readdir`` of many files: one at a time, or in threads where each call is slow.

On a local disk a call takes microseconds, and threads would only slow each other down. On NFS or
Lustre it takes about a millisecond, most of which is waiting. The first few calls show which it is.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import NamedTuple

from gobbler.fs.mounts import HIGH_LATENCY_SECONDS
from gobbler.fs.open import DIRECTORY

MEASURED_CALLS = 8
"""Number of calls whose time is measured first."""

PART_ENTRIES = 1000
"""Number of entries whose status is read ahead."""

AHEAD = 64
"""Number of directories that may be opened ahead."""

Status = os.stat_result | str
"""The text of a symbolic link, or the status of any other entry."""

Statuses = dict[str, Status]


class Directory(NamedTuple):
    """An open directory: its ``names``, its symbolic ``links``, and the ``statuses`` of some.

    ``links`` may be incomplete: not every filesystem reports the kind of an entry.
    """

    descriptor: int
    names: list[str]
    links: set[str]
    statuses: Statuses

    @classmethod
    def read(cls, descriptor: int) -> Directory:
        """List an open directory, without the status of its entries."""
        names: list[str] = []
        links: set[str] = set()
        started, reports_kind = 0.0, True
        with os.scandir(descriptor) as entries:
            for entry in entries:
                names.append(entry.name)
                if reports_kind:
                    started = started or time.monotonic()
                    with suppress(OSError):  # reading its status raises it again
                        if entry.is_symlink():
                            links.add(entry.name)
                    if len(names) == MEASURED_CALLS:
                        # If the directory has no kinds, each of these took a call.
                        seconds = time.monotonic() - started
                        reports_kind = seconds <= HIGH_LATENCY_SECONDS * MEASURED_CALLS
        return cls(descriptor, names, links, {})

    def status(self, name: str) -> Status:
        """The status of ``name``."""
        if name in self.links:
            return os.readlink(name, dir_fd=self.descriptor)
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def statuses_of(self, names: list[str]) -> Statuses:
        """The statuses of ``names``, without those that fail."""
        found: Statuses = {}
        for name in names:
            with suppress(OSError):  # reading it alone raises it again
                found[name] = self.status(name)
        return found


class StatPool:
    """Reads statuses and opens directories, with up to ``width`` threads. A context manager."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._pool: ThreadPoolExecutor | None = None
        self._calls = 0
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

    def status(self, directory: Directory, name: str) -> Status:
        """The status of ``name`` in an open directory."""
        if self._calls >= MEASURED_CALLS:
            return directory.status(name)
        started = time.monotonic()
        try:
            return directory.status(name)
        finally:
            self._calls += 1
            self._seconds += time.monotonic() - started

    def status_of(self, directory: Directory) -> Callable[[str], Status]:
        """:meth:`status` in an open directory: without measuring, once that is known."""
        if self._calls >= MEASURED_CALLS:
            return directory.status
        return partial(self.status, directory)

    @property
    def is_slow(self) -> bool:
        """Whether calls are so slow that threads help."""
        slow = self._calls >= MEASURED_CALLS and self._seconds > HIGH_LATENCY_SECONDS * self._calls
        return slow and self._width > 1

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._width, thread_name_prefix="stat")
        return self._pool

    def statuses(self, directory: Directory, names: list[str]) -> Statuses:
        """The statuses of ``names`` if calls are slow, without those that fail."""
        if not self.is_slow or len(names) < 2:
            return {}
        each = -(-len(names) // self._width)
        parts = [names[i : i + each] for i in range(0, len(names), each)]
        found: Statuses = {}
        futures = [self._threads().submit(directory.statuses_of, part) for part in parts]
        try:
            for future in futures:
                found.update(future.result())
        finally:
            # After an error, too: the caller closes the directory, which threads may still use.
            wait([future for future in futures if not future.cancel()])
        return found

    def directories(self, parent: int, names: list[str]) -> Opening:
        """Prepare to open ``names`` of the open directory ``parent`` in this order."""
        return Opening(self, parent, names)

    def ahead(self, parent: int, name: str) -> Future[Directory] | None:
        """Start to open a directory, unless enough are open."""
        if self._ahead >= AHEAD:
            return None
        self._ahead += 1
        return self._threads().submit(_open, parent, name, with_statuses=True)

    def release(self) -> None:
        """Count a directory that was opened ahead as used."""
        self._ahead -= 1


class Opening:
    """Opens directories of one parent in order, ahead of time if calls are slow."""

    def __init__(self, pool: StatPool, parent: int, names: list[str]) -> None:
        self._pool = pool
        self._parent = parent
        self._names = deque(names)
        self._opening: dict[str, Future[Directory]] = {}

    def open(self, name: str) -> Directory:
        """Open the directory ``name``; its descriptor is the caller's to close."""
        if self._pool.is_slow:
            while self._names and (opening := self._pool.ahead(self._parent, self._names[0])):
                self._opening[self._names.popleft()] = opening
        future = self._opening.pop(name, None)
        if future is None:
            return _open(self._parent, name, with_statuses=False)
        self._pool.release()
        return future.result()

    def settle(self) -> None:
        """Wait until nothing is being opened, so that the parent may be closed."""
        wait(self._opening.values())

    def move(self, parent: int) -> None:
        """Go on with another descriptor of the parent."""
        self._parent = parent

    def close(self) -> None:
        """Close the directories that were opened ahead and not used."""
        while self._opening:
            _, future = self._opening.popitem()
            self._pool.release()
            if not future.cancel() and future.exception() is None:
                os.close(future.result().descriptor)


def _open(parent: int, name: str, *, with_statuses: bool) -> Directory:
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        found = Directory.read(descriptor)
        if with_statuses and len(found.names) <= MEASURED_CALLS:
            found = found._replace(statuses=found.statuses_of(found.names))
        return found
    except BaseException:
        os.close(descriptor)
        raise


def parts(names: list[str]) -> Iterator[list[str]]:
    """Cut ``names`` into parts of at most :data:`PART_ENTRIES`; the first measures the latency."""
    yield names[:MEASURED_CALLS]
    for i in range(MEASURED_CALLS, len(names), PART_ENTRIES):
        yield names[i : i + PART_ENTRIES]


def is_directory(status: Status | None) -> bool:
    """Whether ``status`` is known, and that of a directory."""
    return isinstance(status, os.stat_result) and stat.S_ISDIR(status.st_mode)
