"""The source of an upload: identified once, then scanned by directory descriptors.

No path is looked up twice, so a user who swaps a file or directory gains nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.access import LIST, READ, Restricted, check_foreign
from gobbler.fs.authorship import Authorship
from gobbler.fs.open import (
    DIRECTORY,
    account_name,
    closing,
    enter_directory,
    kind_of,
    let_others_read,
    open_directory,
    open_users_directory,
)
from gobbler.fs.os_errors import fault_at, with_path
from gobbler.fs.sparse import allocated, may_have_holes
from gobbler.model.names import file_name_problem, is_internal
from gobbler.model.progress import CancelToken
from gobbler.rules.links import Nowhere
from gobbler.rules.upload_plan import Scan
from gobbler.transfer.stat_pool import Directory, Opening, StatPool, is_directory, parts

MAX_SCAN_DEPTH = 256
"""Largest depth of directories; each needs a descriptor while the scan is below it."""

MAX_PATH_BYTES = 3000
"""Longest path in a version: with the path of the registry it must stay below ``PATH_MAX``."""


@dataclass(frozen=True)
class StagedSource:
    """An identified directory in staging.

    ``device``, ``inode`` and ``owner`` distinguish it from a directory that a user puts in its
    place. Another host may know the device by another number: if ``is_inside``, it is the device
    of the staging directory.
    """

    staging: str
    name: str
    device: int
    inode: int
    owner: int
    is_inside: bool = False

    @classmethod
    def identify(
        cls, staging: str, name: str, *, uid: int, user: str, authorship: Authorship
    ) -> StagedSource:
        """The directory ``name`` in staging, which must be the work of ``uid``, called ``user``.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Forbidden`.
        """
        if name in ("", ".") or "/" in name or "\0" in name or is_internal(name):
            raise Refused(
                f"`source` must be the bare name of a directory in staging, not {quoted(name)}",
                code=Code.INVALID_NAME,
            )
        path = f"{staging}/{name}"
        with closing(enter_directory(staging)) as parent:
            descriptor, status = open_users_directory(parent, name, "source directory", staging)
            with closing(descriptor):
                with with_path(staging):
                    is_inside = status.st_dev == os.fstat(parent).st_dev
                if status.st_uid != uid:
                    owner = account_name(status.st_uid, f"source directory {quoted(name)}")
                    raise Forbidden(
                        f"source directory {quoted(name)} belongs to {quoted(owner)}, "
                        f"not to the requester {quoted(user)}",
                        code=Code.FOREIGN_SOURCE,
                    )
                authorship.check(descriptor, status, "source directory", path)
        return cls(staging, name, status.st_dev, status.st_ino, status.st_uid, is_inside)

    @property
    def path(self) -> str:
        """The path of the directory."""
        return f"{self.staging}/{self.name}"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open it. Raises :class:`~gobbler.errors.Refused` if another directory is there now."""
        with closing(enter_directory(self.staging)) as staging:
            try:
                descriptor = os.open(self.name, DIRECTORY, dir_fd=staging)
            except OSError as error:
                raise refusal(error, self.name, self.path) from None
            with closing(descriptor), with_path(self.path):
                status = os.fstat(descriptor)
                is_same_device = status.st_dev == self.device or (
                    self.is_inside and status.st_dev == os.fstat(staging).st_dev
                )
                found = (status.st_ino, status.st_uid)
                if not is_same_device or found != (self.inode, self.owner):
                    raise Refused(
                        f"the source {quoted(self.name)} was replaced while it was read",
                        code=Code.SOURCE_CHANGED,
                    )
                yield descriptor


@dataclass
class _Scanner:
    ignore_dot: bool
    owner: int | None
    cancel: CancelToken
    pool: StatPool
    found: Scan

    def directory(self, opened: Directory, prefix: str, depth: int) -> int:
        """Scan one open directory; returns how many of its entries are not ignored."""
        names = sorted(name for name in opened.names if not self._is_ignored(name))
        if len(names) < len(opened.names):
            ignored = sorted(set(opened.names) - set(names))
            self.found.ignored.extend(prefix + name for name in ignored)
        for part in parts(names):
            self.cancel.check()
            statuses = opened.statuses or self.pool.statuses(opened, part)
            directories = [name for name in part if is_directory(statuses.get(name))]
            opening = self.pool.directories(opened.descriptor, directories)
            try:
                for name in part:
                    path = prefix + name
                    try:
                        problem = _path_problem(name, path)
                        if problem is None:
                            status = statuses.get(name) or self.pool.status(opened, name)
                            if isinstance(status, str):
                                self.found.symlinks[path] = status
                            else:
                                place = _EntryPlace(opened.descriptor, name, opening, path, depth)
                                problem = self._entry(place, status)
                    except OSError as error:
                        problem = vanished(error, path)
                        if isinstance(error, PermissionError):
                            self.found.unreadable.append(path)
                    if problem is not None:
                        self.found.invalid[path] = problem
            finally:
                opening.close()
        return len(names)

    def _is_ignored(self, name: str) -> bool:
        return is_internal(name) or (self.ignore_dot and name.startswith("."))

    def _entry(self, place: _EntryPlace, status: os.stat_result) -> str | None:
        """Record an entry; returns what is wrong with it, if anything."""
        if stat.S_ISREG(status.st_mode):
            if self.owner is not None and status.st_uid != self.owner:
                if is_foreign_link(status, self.owner):
                    return FOREIGN_LINK
                there = f"/proc/self/fd/{place.parent}/{place.name}"
                check_foreign(there, status, self.owner, READ)
            self.found.files[place.path] = status.st_size
            if status.st_mode & stat.S_IXUSR:
                self.found.executable.append(place.path)
            if may_have_holes(status):
                self.found.sparse[place.path] = allocated(status)
        elif stat.S_ISLNK(status.st_mode):  # the directory does not report kinds
            self.found.symlinks[place.path] = os.readlink(place.name, dir_fd=place.parent)
        elif stat.S_ISDIR(status.st_mode):
            if place.depth == MAX_SCAN_DEPTH:
                return f"is nested in more than {MAX_SCAN_DEPTH} directories"
            self._subdirectory(place)
        else:
            return (
                f"is {kind_of(status.st_mode)}; only files, directories and symbolic links "
                "can be published"
            )
        return None

    def _subdirectory(self, place: _EntryPlace) -> None:
        opened = place.opening.open(place.name)
        with closing(opened.descriptor):
            if self.owner is not None:
                check_foreign(opened.descriptor, os.fstat(opened.descriptor), self.owner, LIST)
            self.found.directories.append(place.path)
            if self.directory(opened, place.path + "/", place.depth + 1) == 0:
                self.found.empty.append(place.path)


class _EntryPlace(NamedTuple):
    """One entry: ``name`` in the open directory ``parent``."""

    parent: int
    name: str
    opening: Opening
    path: str
    depth: int


def _path_problem(name: str, path: str) -> str | None:
    if (problem := file_name_problem(name)) is not None:
        return f"has a name that {problem}"
    if len(path) * 4 > MAX_PATH_BYTES and len(path.encode()) > MAX_PATH_BYTES:
        return f"has a path of more than {MAX_PATH_BYTES} bytes"
    return None


def scan_source(
    directory: str, *, ignore_dot: bool, owner: int | None, cancel: CancelToken
) -> Scan:
    """Scan the directory at a path as an upload does; needs no service.

    ``gobbler upload --dry-run`` runs this and :func:`gobbler.rules.upload_plan.make_plan`, so it
    accepts and refuses what the service does. Raises :class:`~gobbler.errors.Refused` if
    ``directory`` is not one, or can't be read.
    """
    try:
        opened = open_directory(directory)
    except OSError as error:
        raise refusal(error, directory, directory) from None
    with closing(opened) as descriptor:
        return scan(descriptor, ignore_dot=ignore_dot, owner=owner, cancel=cancel)


def scan(
    directory: int,
    *,
    ignore_dot: bool,
    owner: int | None,
    cancel: CancelToken,
    width: int = 1,
) -> Scan:
    """Scan what is below the open ``directory``.

    With ``owner`` (a user ID), files and directories of other users are invalid unless everybody
    may read them, and so are hard links to them. Checks ``cancel`` for every directory. Up to
    ``width`` threads read a slow filesystem.
    """
    found = Scan({}, {}, [], [], {})
    with StatPool(width) as pool:
        top = Directory.read(directory)
        _Scanner(ignore_dot, owner, cancel, pool, found).directory(top, "", 0)
    return found


_MISSING = (errno.ENOENT, errno.ENOTDIR)

_BROKEN = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def real_path(directory: str) -> str | Nowhere:
    """The path of a directory without links, as the kernel finds it; or the problem.

    For :class:`~gobbler.rules.links.Locator`. It is only a name, and may be outdated already.
    Raises :class:`~gobbler.errors.Fault` if the filesystem failed.
    """
    try:
        with closing(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as opened:
            try:
                return os.readlink(f"/proc/self/fd/{opened}")
            except FileNotFoundError:  # /proc is not mounted
                return os.path.realpath(directory, strict=True)
    except OSError as error:
        if error.errno in _BROKEN:
            raise fault_at(error, "read", directory) from error
        if error.errno in _MISSING:
            return Nowhere("does not exist")
        return Nowhere(f"can't be reached: {error.strerror}")


FOREIGN_LINK = "is a hard link to another user's file"


def is_foreign_link(status: os.stat_result, owner: int) -> bool:
    """Whether ``owner`` may have linked a file of another user, perhaps without read access."""
    return status.st_nlink > 1 and status.st_uid != owner


def vanished(error: OSError, path: str) -> str:
    """The problem with the user's file ``path`` on which a call failed.

    Raises :class:`~gobbler.errors.Fault` if the service or its filesystem failed.
    """
    if isinstance(error, FileNotFoundError):
        return "vanished while it was being read"
    if isinstance(error, Restricted):
        return str(error.strerror)
    if isinstance(error, PermissionError):
        return "can't be read"
    if error.errno == errno.EWOULDBLOCK:
        return "is in use: another process holds a lease on it"
    # EINVAL: it was a symbolic link before.
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
        return "changed while it was being read"
    raise fault_at(error, "read", path) from error


def refusal(error: OSError, path: str, source: str) -> Refused:
    """The refusal of the user's file ``path`` in the directory ``source``; a call on it failed."""
    reason = f"{quoted(path)} in the source {vanished(error, path)}"
    if isinstance(error, PermissionError):
        return Refused(reason, code=Code.UNREADABLE, hint=let_others_read(source))
    if error.errno == errno.EWOULDBLOCK:
        return Refused(
            reason,
            code=Code.FILE_IN_USE,
            hint="Upload again when no process has it open for writing.",
        )
    return Refused(reason, code=Code.SOURCE_CHANGED)
