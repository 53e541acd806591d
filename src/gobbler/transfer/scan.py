"""Scanning a source by directory descriptors: no path is looked up twice."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from gobbler.disk.opening import DIRECTORY, kind_of
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
    owner: int
    check: Callable[[], None]
    files: dict[str, int] = field(default_factory=dict)
    symlinks: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def directory(self, descriptor: int, prefix: str, depth: int) -> int:
        """Scan one open directory; how many entries of it are taken."""
        self.check()
        if depth > MAX_DEPTH:
            raise Refused(
                f"{quoted(prefix)} is nested too deeply: more than {MAX_DEPTH} directories"
            )
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        taken = 0
        for entry in found:
            name = entry.name
            if is_internal(name) or (self.ignore_dot and name.startswith(".")):
                continue
            taken += 1
            self._entry(descriptor, entry, prefix + name, depth)
        return taken

    def _entry(self, parent: int, entry: os.DirEntry[str], path: str, depth: int) -> None:
        problem = file_name_problem(entry.name)
        if problem is None and len(path) * 4 > MAX_PATH_BYTES:
            too_long = len(path.encode()) > MAX_PATH_BYTES
            problem = f"makes a path of more than {MAX_PATH_BYTES} bytes" if too_long else None
        if problem is not None:
            raise Refused(f"{quoted(path)} in the source {problem}")
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                check_ownership(status, self.owner, path)
                self.files[path] = status.st_size
            elif stat.S_ISLNK(status.st_mode):
                self.symlinks[path] = os.readlink(entry.name, dir_fd=parent)
            elif stat.S_ISDIR(status.st_mode):
                self._subdirectory(parent, entry.name, path, depth)
            else:
                raise Refused(
                    f"{quoted(path)} in the source is {kind_of(status.st_mode)}; "
                    "only files, directories and symbolic links can be published"
                )
        except OSError as error:
            raise refusal(error, path) from None

    def _subdirectory(self, parent: int, name: str, path: str, depth: int) -> None:
        self.directories.append(path)
        descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        try:
            if self.directory(descriptor, path + "/", depth + 1) == 0:
                self.empty.append(path)
        finally:
            os.close(descriptor)


def scan(
    source: int, *, ignore_dot: bool, owner: int, check: Callable[[], None] = lambda: None
) -> Scan:
    """What is below the open directory ``source``, which the account ``owner`` owns.

    ``check`` is called for every directory and may raise to give up. Raises
    :class:`~gobbler.errors.Refused` that names the path for all that can't be published:
    devices, FIFOs and sockets, bad names, hard links to others' files, what can't be read.
    """
    scanner = _Scanner(ignore_dot, owner, check)
    scanner.directory(source, "", 0)
    return Scan(scanner.files, scanner.symlinks, scanner.directories, scanner.empty)


def check_ownership(status: os.stat_result, owner: int, path: str) -> None:
    """Refuse a file that its user may have linked here without a right to read it."""
    if status.st_nlink > 1 and status.st_uid != owner:
        raise Refused(f"{quoted(path)} in the source is a hard link to another user's file")


def refusal(error: OSError, path: str) -> Exception:
    """What the failure of a call on the user's file ``path`` means to the user."""
    if isinstance(error, FileNotFoundError):
        return Refused(f"{quoted(path)} in the source vanished while it was being read")
    if isinstance(error, PermissionError):
        return Refused(
            f"{quoted(path)} in the source can't be read by the service",
            hint="Give others the right to read it (and to enter it, if it is a directory).",
        )
    if isinstance(error, NotADirectoryError) or error.errno == errno.ELOOP:
        return Refused(f"{quoted(path)} in the source changed while it was being read")
    return error
