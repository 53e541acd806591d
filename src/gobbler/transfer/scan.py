"""Scanning a source by directory descriptors: no path is looked up twice."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from gobbler.disk.naming import fault_of
from gobbler.disk.opening import DIRECTORY, closing, kind_of
from gobbler.errors import Refused, quoted
from gobbler.names import file_name_problem, is_internal
from gobbler.rules.planning import Scan

MAX_DEPTH = 256
"""Directories within directories; each takes a descriptor while the scan is below it."""

MAX_PATH_BYTES = 3000
"""Longest path in a version: with the registry's own path it must stay below PATH_MAX."""


@dataclass
class _Scanner:
    ignore_dot: bool
    owner: int | None
    check: Callable[[], None]
    found: Scan

    def directory(self, descriptor: int, prefix: str, depth: int) -> int:
        """Scan one open directory; how many entries of it are taken."""
        self.check()
        with os.scandir(descriptor) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        taken = 0
        for entry in ordered:
            name = entry.name
            if is_internal(name) or (self.ignore_dot and name.startswith(".")):
                continue
            taken += 1
            path = prefix + name
            try:
                problem = _path_problem(name, path) or self._entry(descriptor, entry, path, depth)
            except OSError as error:
                problem = vanished(error, path)
            if problem is not None:
                self.found.odd[path] = problem
        return taken

    def _entry(self, parent: int, entry: os.DirEntry[str], path: str, depth: int) -> str | None:
        """Note an entry; what is wrong with it, if anything."""
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            if self.owner is not None and is_foreign_link(status, self.owner):
                return FOREIGN_LINK
            self.found.files[path] = status.st_size
        elif stat.S_ISLNK(status.st_mode):
            self.found.symlinks[path] = os.readlink(entry.name, dir_fd=parent)
        elif stat.S_ISDIR(status.st_mode):
            if depth == MAX_DEPTH:
                return f"is nested in more than {MAX_DEPTH} directories"
            self._subdirectory(parent, entry.name, path, depth)
        else:
            return (
                f"is {kind_of(status.st_mode)}; only files, directories and symbolic links "
                "can be published"
            )
        return None

    def _subdirectory(self, parent: int, name: str, path: str, depth: int) -> None:
        with closing(os.open(name, DIRECTORY, dir_fd=parent)) as descriptor:
            self.found.directories.append(path)
            if self.directory(descriptor, path + "/", depth + 1) == 0:
                self.found.empty.append(path)


def _path_problem(name: str, path: str) -> str | None:
    if (problem := file_name_problem(name)) is not None:
        return f"has a name that {problem}"
    if len(path) * 4 > MAX_PATH_BYTES and len(path.encode()) > MAX_PATH_BYTES:
        return f"has a path of more than {MAX_PATH_BYTES} bytes"
    return None


def scan(
    directory: int,
    *,
    ignore_dot: bool,
    owner: int | None,
    check: Callable[[], None] = lambda: None,
) -> Scan:
    """What is below the open ``directory``.

    With ``owner`` (a user ID), hard links to others' files are odd. ``check`` is called for
    every directory and may raise to give up.
    """
    found = Scan({}, {}, [], [], {})
    _Scanner(ignore_dot, owner, check, found).directory(directory, "", 0)
    return found


FOREIGN_LINK = "is a hard link to another user's file"


def is_foreign_link(status: os.stat_result, owner: int) -> bool:
    """Whether a file may have been linked here by ``owner`` without a right to read it."""
    return status.st_nlink > 1 and status.st_uid != owner


UNREADABLE = "can't be read by the service"


def vanished(error: OSError, path: str) -> str:
    """What is wrong with the user's file ``path`` on which a call failed.

    Raises :class:`~gobbler.errors.Fault` for what is our own fault.
    """
    if isinstance(error, FileNotFoundError):
        return "vanished while it was being read"
    if isinstance(error, PermissionError):
        return UNREADABLE
    # EINVAL: it was a symbolic link when it was looked at, and is none any more.
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
        return "changed while it was being read"
    raise fault_of(error, "read", path) from error


def refusal(error: OSError, path: str) -> Refused:
    """The refusal of the user's file ``path`` on which a call failed."""
    problem = vanished(error, path)
    hint = "Give others the right to read it (and to enter it, if it is a directory)."
    return Refused(
        f"{quoted(path)} in the source {problem}", hint=hint if problem == UNREADABLE else ""
    )
