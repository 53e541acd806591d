"""The replay guard: a request is carried out at most once.

It remembers each request as the state of a file (device, inode, change time), regardless of its
name, by an empty file that is created exclusively. So it holds across threads, processes, hosts and
restarts. A corrected request is another state of the file, hence a new request.

Where the filesystem has hard links, these marks are names of one common file: an inode for each
takes longer to make, and ext4 without a journal does not reuse a freed inode for minutes. Marks of
files that were written in one second share a *drawer*, a directory, so that all marks of a file are
found at once, though its change time is not known. The drawers are made beforehand: on a full disk
there is room for a name, but not for a directory. Where there is not even that, a mark takes a file
of the reserve.

**When the directory is removed** while the service runs, its marks are lost. It is made anew with a
file ``made``; a request file that changed before ``made`` may have begun, and is refused, like one
that has expired. Every process keeps the directory open and notices when it is another one.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import threading
import time
from contextlib import suppress

from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.atomic_write import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE
from gobbler.fs.layout import STAGING_RESERVE
from gobbler.fs.open import DIRECTORY, closing
from gobbler.fs.os_errors import with_path
from gobbler.fs.reserve import Reserve, is_full

FORGET_AFTER = 600.0
"""Seconds after which a mark is removed: long after its request has expired."""

MARK = "mark"
"""The file to which all marks are hard links."""

MADE = "made"
"""The file whose time shows since when no mark is missing."""

DRAWERS = 256
"""Number of drawers: each has the marks of a few of the seconds until they are forgotten."""

_DRAWER = re.compile(r"[0-9a-f]{3}")

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of filesystems without hard links."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

logger = logging.getLogger(__name__)


class _Opened:
    """The directory, as long as it is at its path."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, DIRECTORY)
        try:
            with with_path(path):
                owner = os.fstat(self.descriptor).st_uid
            if owner != os.geteuid():
                raise Fault(
                    f"{path} belongs to another account",
                    hint="Remove it: the service makes it anew, as its own.",
                )
            self.complete_since = 0
            with suppress(FileNotFoundError):
                made = os.stat(MADE, dir_fd=self.descriptor, follow_symlinks=False)
                self.complete_since = made.st_mtime_ns
        except BaseException:
            os.close(self.descriptor)
            raise

    def __del__(self) -> None:
        """Close the directory."""
        with suppress(AttributeError, OSError):
            os.close(self.descriptor)


class ReplayGuard:
    """Remembers requests in a ``directory`` that only the service's account can enter."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.reserve = Reserve(f"{directory}/{STAGING_RESERVE}")
        self._opened: _Opened | None = None
        self._lock = threading.Lock()

    def begin(self, name: str, status: os.stat_result) -> None:
        """Record that the request file ``name`` with this ``status`` begins.

        Raises :class:`~gobbler.errors.Refused` if it has begun before, or may have.
        """
        mark = f"{_drawer(status)}/{_file(status)}{status.st_ctime_ns:x}{_written(status)}"
        try:
            opened = self._make_somehow(mark)
        except FileExistsError:
            raise Refused(
                f"path is already being processed: {quoted(name)}",
                code=Code.REPEATED_REQUEST,
                hint="The service has begun it already: see whether it succeeded with `gobbler "
                "ls`, or `gobbler jobs ls` if it is a job. To ask again, write a new request file.",
            ) from None
        if status.st_ctime_ns <= opened.complete_since:
            raise Refused(
                f"request file is expired: {quoted(name)} is older than the service's list of "
                "requests, which was lost and made anew",
                code=Code.EXPIRED_REQUEST,
                hint="Write a new request file and send it at once.",
            )

    def _make_somehow(self, mark: str) -> _Opened:
        """Create ``mark``; on a full disk, in the place of files of the reserve."""
        while True:
            try:
                return self._make(mark)
            except OSError as error:
                if not is_full(error) or not self.reserve.free(1):
                    raise

    def _make(self, mark: str) -> _Opened:
        """Create ``mark``, and say in which directory; ``FileExistsError`` if it exists."""
        while True:
            opened = self._open()
            at = opened.descriptor
            try:
                os.link(MARK, mark, src_dir_fd=at, dst_dir_fd=at)
                return opened
            except FileNotFoundError:
                self._complete(opened, mark)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    if self._create(opened, mark):
                        return opened
                elif error.errno != errno.EMLINK:
                    raise
                else:
                    with suppress(FileNotFoundError):  # another service starts a new one, too
                        os.unlink(MARK, dir_fd=at)

    def _create(self, opened: _Opened, mark: str) -> bool:
        """Create ``mark`` as a file of its own; ``False`` if something was missing for that."""
        try:
            os.close(os.open(mark, _NEW, PRIVATE_FILE_MODE, dir_fd=opened.descriptor))
        except FileNotFoundError:
            self._complete(opened, mark)
            return False
        return True

    def _complete(self, opened: _Opened, mark: str) -> None:
        """Make what ``mark`` needs: its drawer, the common file, the directory itself."""
        at = opened.descriptor
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(mark), PRIVATE_DIRECTORY_MODE, dir_fd=at)
            os.close(os.open(MARK, flags, PRIVATE_FILE_MODE, dir_fd=at))
        except FileNotFoundError:
            self.restore()

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is None:
            try:
                opened = self._opened = _Opened(self.directory)
            except FileNotFoundError:
                return self.restore()
        return opened

    def restore(self) -> _Opened:
        """Make the directory anew if it is missing, without its marks; and open it again."""
        with self._lock:
            if not os.path.lexists(self.directory):
                self._make_anew()
            self._opened = _Opened(self.directory)
            return self._opened

    def _make_anew(self) -> None:
        # It gets its name with `made` in it: nobody must take an empty one for complete.
        new = f"{self.directory}.{secrets.token_hex(8)}"
        os.mkdir(new, PRIVATE_DIRECTORY_MODE)
        try:
            with closing(os.open(f"{new}/{MADE}", _NEW, PRIVATE_FILE_MODE)) as made:
                os.write(made, b"\n")
            try:
                os.rename(new, self.directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return  # another process was faster
            logger.warning("made %s anew: something has removed it", self.directory)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(f"{new}/{MADE}")
                os.rmdir(new)

    def note(self, status: os.stat_result) -> None:
        """Record that a request file was claimed from the inbox. Safe to repeat."""
        with suppress(FileExistsError):
            self._make_somehow(f"{_drawer(status)}/{_file(status)}taken{_written(status)}")

    def knows(self, status: os.stat_result) -> bool:
        """Whether the request in a file has begun, or may have, and the file is unchanged.

        The file may have another name than when it began.
        """
        opened = self._open()
        if status.st_mtime_ns <= opened.complete_since < status.st_ctime_ns:
            return True
        start, end = _file(status), _written(status)
        try:
            drawer = os.open(_drawer(status), DIRECTORY, dir_fd=opened.descriptor)
        except FileNotFoundError:
            return False
        with closing(drawer):
            return any(name.startswith(start) and name.endswith(end) for name in os.listdir(drawer))

    def forget_old(self) -> None:
        """Remove marks that are too old to matter."""
        limit = time.time() - FORGET_AFTER
        top = self._open().descriptor
        _forget(top, limit, keep=(MARK,))
        for name in os.listdir(top):
            # It is removed by another service, or is no drawer.
            with suppress(FileNotFoundError, NotADirectoryError):
                if _DRAWER.fullmatch(name):
                    with closing(os.open(name, DIRECTORY, dir_fd=top)) as drawer:
                        _forget(drawer, limit)

    def prepare(self) -> None:
        """Make what is missing of the drawers and the reserve. Without space, it stays as it is."""
        try:
            top = self._open().descriptor
            there = set(os.listdir(top))
            for number in range(DRAWERS):
                if _drawer_of(number) not in there:
                    with suppress(FileExistsError):
                        os.mkdir(_drawer_of(number), PRIVATE_DIRECTORY_MODE, dir_fd=top)
        except OSError as error:
            logger.debug("the drawers of %s are not complete: %s", self.directory, error)
        self.reserve.fill()

    def keep_young(self) -> None:
        """Keep the directory from looking old to those who remove what is old."""
        opened = self._open()
        for name in (None, MARK):
            with suppress(FileNotFoundError):
                if name is None:
                    os.utime(opened.descriptor)
                else:
                    os.utime(name, dir_fd=opened.descriptor)


def _forget(directory: int, limit: float, keep: tuple[str, ...] = ()) -> None:
    """Remove the files of an open directory whose time is before ``limit``."""
    with os.scandir(directory) as entries:
        found = [entry for entry in entries if entry.name not in keep]
    for entry in found:
        with suppress(FileNotFoundError):  # another service removes them, too
            if not entry.is_dir(follow_symlinks=False) and _time(entry) < limit:
                os.unlink(entry.name, dir_fd=directory)


def _time(entry: os.DirEntry[str]) -> float:
    """The time at which the request of a mark was written; of any other file, its own."""
    try:
        return int(entry.name.split("-")[2], 16) / 1e9
    except (IndexError, ValueError):
        return entry.stat(follow_symlinks=False).st_mtime


def _drawer(status: os.stat_result) -> str:
    return _drawer_of(status.st_mtime_ns // 1_000_000_000)


def _drawer_of(second: int) -> str:
    return f"{second % DRAWERS:03x}"


def _file(status: os.stat_result) -> str:
    return f"{status.st_dev:x}-{status.st_ino:x}-"


def _written(status: os.stat_result) -> str:
    return f"-{status.st_mtime_ns:x}"
