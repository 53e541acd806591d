"""Watch a directory for new files.

Listing the directory finds the files. inotify only says when to list it, so a lost event, or a
filesystem without inotify, delays a file and loses none.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

from gobbler.filestore.names import is_hidden
from gobbler.fs.inotify import APPEARED, Inotify
from gobbler.fs.mounts import reports_all_changes

logger = logging.getLogger(__name__)

LIST_EVERY = 1.0
"""Seconds between two listings while inotify reports nothing."""

_MTIME_GRAIN = 3.0
"""Seconds; every filesystem stores the mtime of a directory more finely than that."""

_BATCH = 0.02
"""Seconds to wait for further files, so that one listing finds all of them."""

_STOP_AFTER = 0.5
"""Seconds after which it ends at the latest when it is stopped."""

_FileState = tuple[int, int, int]
"""Device, inode and change time in ns."""


def watch(
    directory: str,
    poll: float | None,
    stop: threading.Event | None,
    requeue: Callable[[], object],
    requeue_every: float | None,
) -> Iterator[str]:
    """Yield the path of each file that is in ``directory``, or appears there.

    Calls ``requeue`` at first, and then every ``requeue_every`` seconds, unless that is ``None``.
    """
    stop = stop or threading.Event()
    listing = _Listing(directory)
    next_requeue = time.monotonic()
    for _ in _moments(directory, poll, stop):
        if requeue_every is not None and time.monotonic() >= next_requeue:
            requeue()
            next_requeue = time.monotonic() + requeue_every
        for name in listing.new_names():
            if stop.is_set():
                return
            yield os.path.join(directory, name)


class _Listing:
    """The result of the last listing of a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._known: dict[str, _FileState] = {}
        self._mtime = -1
        self._mtime_since = self._listed_at = 0.0

    def new_names(self) -> list[str]:
        """The names of files that are new, or replaced, since the last listing; in order."""
        # Opened each time: network filesystems then ask their server.
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            now, mtime = time.monotonic(), os.fstat(descriptor).st_mtime_ns
            if mtime != self._mtime:
                self._mtime, self._mtime_since = mtime, now
            elif self._listed_at - self._mtime_since > _MTIME_GRAIN:
                return []  # the directory has not changed since the last listing
            self._listed_at = now
            before, self._known = self._known, _list(descriptor)
        finally:
            os.close(descriptor)
        return sorted(name for name, state in self._known.items() if before.get(name) != state)


def _list(descriptor: int) -> dict[str, _FileState]:
    found = {}
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if not is_hidden(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # claimed at this moment
                # A file that left and came back has been renamed, which changes its ctime.
                found[entry.name] = (status.st_dev, status.st_ino, status.st_ctime_ns)
    return found


def _moments(directory: str, poll: float | None, stop: threading.Event) -> Iterator[None]:
    """Yield whenever the directory should be listed, at once the first time."""
    if stop.is_set():
        return
    yield
    if poll is None and reports_all_changes(directory):
        try:
            yield from _inotify(directory, stop)
        except (OSError, RuntimeError) as error:
            logger.warning("%s: listing it every second, as inotify fails: %s", directory, error)
        if stop.is_set():
            return
    while _pause(stop, LIST_EVERY if poll is None else poll):
        yield


def _pause(stop: threading.Event, seconds: float) -> bool:
    """Wait; ``False`` once it is stopped.

    In pieces: a signal that arrives right before the main thread waits does not end that wait.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stop.wait(min(left, _STOP_AFTER)):
            return False
    return not stop.is_set()


def _inotify(directory: str, stop: threading.Event) -> Iterator[None]:
    """Yield after each change, and every :data:`LIST_EVERY` seconds."""
    source = Inotify()
    source.add(directory, APPEARED)
    changes = select.poll()
    changes.register(source.fileno(), select.POLLIN)
    while True:
        deadline = time.monotonic() + LIST_EVERY
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if changes.poll(min(left, _STOP_AFTER) * 1000):
                time.sleep(_BATCH)
                source.read()
                break
        if stop.is_set():
            return
        yield
