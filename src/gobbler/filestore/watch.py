"""Waiting for files in a directory.

What is there is always found out by looking. inotify only tells when to look, so nothing
is missed when it loses events, or can't be had.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator

from gobbler.filestore.names import is_hidden
from gobbler.fs.mounts import tells_all_changes

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two looks while nothing is heard."""

_GRAIN = 3.0
"""Seconds; the coarsest filesystem stamps its directories more finely than that."""

_GATHER_MS = 50
"""How long to wait whether more files come, before looking at once for all of them."""

_State = tuple[int, int, int]


def watch(directory: str, poll: float | None, stop: threading.Event | None) -> Iterator[str]:
    """Yield the path of each file that is in ``directory``, or comes to be there."""
    stop = stop or threading.Event()
    listing = _Listing(directory)
    for _ in _moments(directory, poll, stop):
        for name in listing.news():
            if stop.is_set():
                return
            yield os.path.join(directory, name)


class _Listing:
    """What was in a directory when it was looked at."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._known: dict[str, _State] = {}
        self._stamp = -1
        self._stamp_since = self._looked_at = 0.0

    def news(self) -> list[str]:
        """The names of files that are new, or other files, since the last look; in order."""
        # Opened each time: network filesystems then ask their server.
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            now, stamp = time.monotonic(), os.fstat(descriptor).st_mtime_ns
            if stamp != self._stamp:
                self._stamp, self._stamp_since = stamp, now
            elif self._looked_at - self._stamp_since > _GRAIN:
                return []  # it has not changed since the last look
            self._looked_at = now
            before, self._known = self._known, _look(descriptor)
        finally:
            os.close(descriptor)
        return sorted(name for name, state in self._known.items() if before.get(name) != state)


def _look(descriptor: int) -> dict[str, _State]:
    found = {}
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if not is_hidden(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # taken in this moment
                # A file that went and came back has been renamed, which is a change.
                found[entry.name] = (status.st_dev, status.st_ino, status.st_ctime_ns)
    return found


def _moments(directory: str, poll: float | None, stop: threading.Event) -> Iterator[None]:
    """Come back whenever it is time to look, at once the first time."""
    if stop.is_set():
        return
    yield
    if poll is None and tells_all_changes(directory):
        try:
            yield from _heard(directory, stop)
        except (OSError, RuntimeError) as error:
            logger.warning("%s: looking every second, as inotify fails: %s", directory, error)
        if stop.is_set():
            return
    while not stop.wait(PAUSE if poll is None else poll):
        yield


def _heard(directory: str, stop: threading.Event) -> Iterator[None]:
    import watchfiles  # noqa: PLC0415 - it is slow to import, and most never watch

    changes = watchfiles.watch(
        directory,
        watch_filter=None,
        step=_GATHER_MS,
        debounce=_GATHER_MS * 4,
        stop_event=stop,
        rust_timeout=int(PAUSE * 1000),
        yield_on_timeout=True,
        force_polling=False,
        recursive=False,
    )
    for _ in changes:
        yield
