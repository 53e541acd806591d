"""The names in a few directories, kept up to date at a cost that follows the changes.

Where every change is made by this kernel, inotify reports each name that appears or vanishes, and
the process sleeps until then. Elsewhere, the modification time of a directory shows whether it has
to be listed again; the pauses between two looks grow while nothing changes. A listing once a minute
finds what inotify may have lost.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from collections.abc import Iterable
from contextlib import suppress

from gobbler.fs import inotify
from gobbler.fs.mounts import reports_all_changes

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
"""Seconds between two looks without inotify: right after a change, and when nothing changes."""

LIST_EVERY = 60.0
"""Seconds between two listings with inotify."""

LISTING_SHARE = 50
"""Without inotify, at most one part in so many of the time goes into listings."""

_MTIME_GRAIN = 3.0
"""Seconds; every filesystem stores the mtime of a directory more finely than that."""

_NAMES = inotify.APPEARED | inotify.VANISHED | inotify.CLOSE_WRITE


class _Directory:
    """The names in one directory, as of the last look."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: set[str] = set()
        self.as_of = -1e9
        self._inode: int | None = None
        self._mtime = -1
        self._mtime_since = self._listed_at = -1e9
        self._next_listing = -1e9

    def list(self) -> set[str]:
        """List the directory; the names that have appeared or vanished."""
        began = time.monotonic()
        # Opened each time: network filesystems then ask their server.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if self._inode not in (None, status.st_ino):
                raise FileNotFoundError(errno.ENOENT, "the directory was replaced", self.path)
            self._inode, mtime = status.st_ino, status.st_mtime_ns
            if mtime != self._mtime:
                self._mtime, self._mtime_since = mtime, began
            found = set(os.listdir(descriptor))
        finally:
            os.close(descriptor)
        self.as_of = self._listed_at = began
        self._next_listing = began + LISTING_SHARE * (time.monotonic() - began)
        changed = self.names ^ found
        self.names = found
        return changed

    def look(self) -> set[str]:
        """List the directory if it may have changed, and was not listed just before."""
        now = time.monotonic()
        if now < self._next_listing:
            return set()
        if os.stat(self.path).st_mtime_ns == self._mtime and (
            self._listed_at - self._mtime_since > _MTIME_GRAIN
        ):
            self.as_of = now
            return set()
        return self.list()

    def apply(self, event: inotify.Event) -> None:
        """Follow what the kernel reports about one name."""
        if event.mask & inotify.APPEARED:
            self.names.add(event.name)
        elif event.mask & inotify.VANISHED:
            self.names.discard(event.name)


class DirectoryWatch:
    """The names in the directories ``paths``, and which of them have changed.

    The directories ``needed`` only have to be there. ``remote`` tells whether other hosts may
    change them; by default their filesystems do. One thread calls :meth:`refresh` and
    :meth:`wait`; any thread may call :meth:`wake`.
    """

    def __init__(
        self, paths: Iterable[str], *, needed: Iterable[str] = (), remote: bool | None = None
    ) -> None:
        self._directories = {path: _Directory(path) for path in paths}
        self._needed = tuple(needed)
        self._remote = remote
        self._inotify: inotify.Inotify | None = None
        self._watches: dict[int, _Directory] = {}
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._next_listing = self._next_start = -1e9
        self._pause = FIRST_PAUSE
        self._failure = ""

    def __del__(self) -> None:
        """Close the descriptor that wakes a waiting thread."""
        with suppress(OSError, AttributeError):
            os.close(self._waker)

    def names(self, path: str) -> set[str]:
        """The names in the directory ``path``, as of the last refresh."""
        return self._directories[path].names

    @property
    def as_of(self) -> float:
        """The moment (monotonic seconds) since which there may be changes that are not known."""
        return min(directory.as_of for directory in self._directories.values())

    def refresh(self) -> dict[str, set[str]]:
        """Follow what has changed; the names that appeared, vanished or were written, by path.

        Raises ``FileNotFoundError`` if a directory is missing or was replaced, and ``OSError`` if
        one can't be read. The next call then reports all names that it finds as new.
        """
        changed: dict[str, set[str]] = {path: set() for path in self._directories}
        try:
            self._follow(changed)
        except OSError:
            # Names that were applied, but not reported, must be reported later.
            self.forget()
            raise
        is_busy = any(changed.values())
        self._pause = FIRST_PAUSE if is_busy else min(self._pause * 1.5, LONGEST_PAUSE)
        return changed

    def forget(self) -> None:
        """Report all names as new at the next refresh."""
        self._inotify, self._watches = None, {}
        self._next_start = -1e9
        for path in self._directories:
            self._directories[path] = _Directory(path)

    def _follow(self, changed: dict[str, set[str]]) -> None:
        now = time.monotonic()
        if self._inotify is not None and self._read_events(self._inotify, changed):
            for directory in self._directories.values():
                directory.as_of = now
            if now < self._next_listing:
                return
        if self._inotify is None and now >= self._next_start:
            self._start_inotify()
            self._next_start = now + LIST_EVERY
        for path in self._needed:
            os.stat(path)
        for path, directory in self._directories.items():
            changed[path] |= directory.look() if self._inotify is None else directory.list()
        self._next_listing = now + LIST_EVERY

    def _read_events(self, source: inotify.Inotify, changed: dict[str, set[str]]) -> bool:
        """Apply all events; ``False`` if the directories must be listed."""
        complete = True
        for event in source.read():
            directory = self._watches.get(event.watch)
            if event.mask & (inotify.OVERFLOW | inotify.DIRECTORY_GONE):
                complete = False
                if event.mask & inotify.DIRECTORY_GONE:
                    self._inotify, self._watches, self._next_start = None, {}, -1e9
            elif directory is not None:
                directory.apply(event)
                changed[directory.path].add(event.name)
        return complete

    def _start_inotify(self) -> None:
        """Let the kernel report changes from now on, where it knows all of them."""
        if self._remote or (
            self._remote is None and not all(map(reports_all_changes, self._directories))
        ):
            return
        try:
            source = inotify.Inotify()
            watches = {source.add(d.path, _NAMES): d for d in self._directories.values()}
            for path in self._needed:
                source.add(path, 0)
        except FileNotFoundError:
            raise
        except OSError as error:
            if self._failure != str(error):
                self._failure = str(error)
                logger.warning("looking for changes every second, as inotify fails: %s", error)
            return
        self._inotify, self._watches, self._failure = source, watches, ""

    def wait(self, seconds: float, *, settle: float = 0.0) -> None:
        """Sleep until something may have changed, :meth:`wake`, or ``seconds`` have passed.

        After the first change it waits ``settle`` seconds for further ones, unless it is woken.
        """
        if self._inotify is not None:
            seconds = min(seconds, self._next_listing - time.monotonic())
            ready = _readable(seconds, self._waker, self._inotify.fileno())
            if settle and ready == [self._inotify.fileno()]:
                _readable(settle, self._waker)
        else:
            _readable(min(seconds, self._pause), self._waker)
        with suppress(BlockingIOError):
            os.eventfd_read(self._waker)

    def wake(self) -> None:
        """End a :meth:`wait` of another thread, or the next one."""
        os.eventfd_write(self._waker, 1)


def _readable(seconds: float, *descriptors: int) -> list[int]:
    """Those of the ``descriptors`` that can be read; waits ``seconds`` for the first of them."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)]
