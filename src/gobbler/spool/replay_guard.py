"""The replay guard: a request is carried out at most once.

It remembers each request as the state of a file (device, inode, change time), regardless of its
name, by an empty file that is created exclusively. So it holds across threads, processes, hosts and
restarts. A corrected request is another state of the file, hence a new request.

Where the filesystem has hard links, these marks are names of one common file: an inode for each
takes longer to make, and ext4 without a journal does not reuse a freed inode for minutes.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from gobbler.errors import Code, Refused, quoted

FORGET_AFTER = 600.0
"""Seconds after which a mark is removed: long after its request has expired."""

MARK = "mark"
"""The file to which all marks are hard links."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of filesystems without hard links."""


class ReplayGuard:
    """Remembers requests in a ``directory`` that only the service's account can enter."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def begin(self, name: str, status: os.stat_result) -> None:
        """Record that the request file ``name`` with this ``status`` begins.

        Raises :class:`~gobbler.errors.Refused` if it has begun before.
        """
        mark = f"{_file(status)}{status.st_ctime_ns:x}{_written(status)}"
        try:
            self._make(f"{self.directory}/{mark}")
        except FileExistsError:
            raise Refused(
                f"path is already being processed: {quoted(name)}",
                code=Code.REPEATED_REQUEST,
                hint="The service has begun it already: see whether it succeeded with `gobbler "
                "ls`, or `gobbler jobs ls` if it is a job. To ask again, write a new request file.",
            ) from None

    def _make(self, path: str) -> None:
        common = f"{self.directory}/{MARK}"
        while True:
            try:
                return os.link(common, path)
            except FileNotFoundError:
                os.close(os.open(common, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                if error.errno in _NO_LINKS:
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    return os.close(os.open(path, flags, 0o600))
                if error.errno != errno.EMLINK:
                    raise
                with suppress(FileNotFoundError):  # another service starts a new one, too
                    os.unlink(common)

    def note(self, status: os.stat_result) -> None:
        """Record that a request file was claimed from the inbox. Safe to repeat."""
        mark = f"{_file(status)}taken{_written(status)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        os.close(os.open(f"{self.directory}/{mark}", flags, 0o600))

    def knows(self, status: os.stat_result) -> bool:
        """Whether the request in a file has begun, under any name, and the file is unchanged."""
        start, end = _file(status), _written(status)
        with os.scandir(self.directory) as entries:
            return any(
                entry.name.startswith(start) and entry.name.endswith(end) for entry in entries
            )

    def forget_old(self) -> None:
        """Remove marks that are too old to matter."""
        limit = time.time() - FORGET_AFTER
        with os.scandir(self.directory) as entries:
            found = list(entries)
        for entry in found:
            with suppress(FileNotFoundError):  # another service removes them, too
                if entry.name != MARK and _time(entry) < limit:
                    os.unlink(entry.path)


def _time(entry: os.DirEntry[str]) -> float:
    """The time at which the request of a mark was written; of any other file, its own."""
    try:
        return int(entry.name.split("-")[2], 16) / 1e9
    except (IndexError, ValueError):
        return entry.stat(follow_symlinks=False).st_mtime


def _file(status: os.stat_result) -> str:
    return f"{status.st_dev:x}-{status.st_ino:x}-"


def _written(status: os.stat_result) -> str:
    return f"-{status.st_mtime_ns:x}"
