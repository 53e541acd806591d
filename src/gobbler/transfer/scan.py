"""The scan of a source, by directory descriptors.

No path is looked up twice, so a user who swaps a file or directory gains nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.access import LIST, READ, Restricted, check_foreign
from gobbler.fs.open import (
    DIRECTORY,
    closing,
    kind_of,
    let_others_read,
    open_directory,
)
from gobbler.fs.os_errors import fault_at
from gobbler.fs.sparse import HOLES_FROM, allocated, may_have_holes
from gobbler.model.names import INCOMING, INTERNAL_PREFIX, MAX_NAME_BYTES, file_name_problem
from gobbler.model.progress import CancelToken
from gobbler.rules.links import Nowhere
from gobbler.rules.upload_plan import FOREIGN_HINT, Scan
from gobbler.transfer.stat_pool import (
    Directory,
    Opening,
    StatPool,
    Statuses,
    is_directory,
    parts,
)

OPEN_LEVELS = 64
"""Number of directories, from the deepest one up, that the scan keeps open."""

PATH_MAX = 4096
"""The kernel takes paths that are shorter than this, in bytes."""

BESIDE_BYTES = 16
"""Bytes for a slash and the name of a record beside an entry, ``..manifest`` for example."""


def longest_path(*tops: str) -> int:
    """The length in bytes of the longest path that fits below each of the directories ``tops``."""
    longest = max((len(os.fsencode(top)) for top in tops), default=0)
    return PATH_MAX - 1 - BESIDE_BYTES - longest


LONGEST_PATH = longest_path()
"""The longest path of a version, wherever it is."""

WORKSPACE_BYTES = 120
"""Bytes of the path, below ``..incoming``, of the tree where a version is built, at most."""


def longest_published(registry: str, version: str) -> int:
    """The length in bytes of the longest path in a new version of the registry at a path."""
    workspace = f"{registry}/{INCOMING}/{'-' * WORKSPACE_BYTES}"
    return longest_path(f"{registry}/{version}", workspace)


def path_problem(path: str, longest: int) -> str | None:
    """What is wrong with the length of ``path``, if anything."""
    if len(path) * 4 > longest and len(path.encode(errors="surrogateescape")) > longest:
        return f"has a path of more than {longest} bytes"
    return None


_ODD = 0o170000 | stat.S_IXUSR
"""The bits of a mode by which an entry is something else than a file with nothing to note."""


class _Level:
    """A directory that the scan is in: the rest of its entries, part by part.

    ``identity`` is set while the directory is closed.
    """

    __slots__ = ("identity", "names", "opened", "opening", "parts", "prefix", "statuses")

    def __init__(self, pool: StatPool, opened: Directory, prefix: str, names: list[str]) -> None:
        self.opened = opened
        self.prefix = prefix
        self.parts = parts(names)
        self.names: Iterator[str] = iter(())
        self.statuses: Statuses = {}
        self.opening: Opening = pool.directories(opened.descriptor, [])
        self.identity: tuple[int, int] | None = None

    def next_part(self, pool: StatPool) -> bool:
        """Begin the next part; whether there is one."""
        self.opening.close()
        part = next(self.parts, None)
        if part is None:
            return False
        self.statuses = self.opened.statuses or pool.statuses(self.opened, part)
        directories = [name for name in part if is_directory(self.statuses.get(name))]
        self.opening = pool.directories(self.opened.descriptor, directories)
        self.names = iter(part)
        return True

    def suspend(self) -> None:
        """Close the directory, if it is open; :meth:`resume` opens it again."""
        if self.identity is not None:
            return
        self.opening.settle()
        status = os.fstat(self.opened.descriptor)
        self.identity = status.st_dev, status.st_ino
        os.close(self.opened.descriptor)

    def resume(self, child: int) -> None:
        """Open the directory again, as the parent of the open ``child``.

        Raises :class:`~gobbler.errors.Refused` if the child is elsewhere now.
        """
        path = self.prefix.rstrip("/")
        try:
            descriptor = os.open("..", DIRECTORY, dir_fd=child)
        except OSError as error:
            raise _moved(vanished(error, path), path) from None
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != self.identity:
            os.close(descriptor)
            raise _moved("changed while it was being read", path)
        self.identity = None
        self.opened = self.opened._replace(descriptor=descriptor)
        self.opening.move(descriptor)

    def close(self) -> None:
        """Close all that is open."""
        self.opening.close()
        if self.identity is None:
            os.close(self.opened.descriptor)


def _moved(problem: str, path: str) -> Refused:
    return Refused(f"the directory {quoted(path)} {problem}", code=Code.SOURCE_CHANGED)


class _Scanner:
    """Scans a tree, however deep users have made it, with few directories open at a time."""

    def __init__(
        self,
        pool: StatPool,
        *,
        ignore_dot: bool,
        owner: int | None,
        longest: int,
        cancel: CancelToken,
    ) -> None:
        self.found = Scan({}, {}, [], [], {})
        self._pool = pool
        self._ignore_dot = ignore_dot
        self._owner = owner
        self._longest = longest
        # Of a name and of a path in characters, whatever these are.
        self._always_fits = min(longest, MAX_NAME_BYTES) // 4
        self._cancel = cancel
        self._levels: list[_Level] = []

    def scan(self, descriptor: int) -> None:
        """Scan what is below an open directory, which is closed at the end."""
        try:
            top = Directory.read(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._levels.append(_Level(self._pool, top, "", self._not_ignored(top, "")))
        try:
            while self._levels:
                level = self._levels[-1]
                if self._enters(level):
                    continue
                self._cancel.check()
                if not level.next_part(self._pool):
                    self._leave()
        finally:
            while self._levels:
                self._levels.pop().close()

    def _enters(self, level: _Level) -> bool:
        """Record the entries of a part, until one is a directory, which is entered."""
        prefix, statuses, opened = level.prefix, level.statuses, level.opened
        status_of, found = self._pool.status_of(opened), self.found
        always_fits, owner, files = self._always_fits - len(prefix), self._owner, found.files
        for name in level.names:
            path = prefix + name
            try:
                is_plain = len(name) <= always_fits and name.isprintable()
                problem = None if is_plain else self._path_problem(name, path)
                if problem is None:
                    status = (statuses and statuses.get(name)) or status_of(name)
                    if isinstance(status, str):
                        found.symlinks[path] = status
                    elif (  # most entries are files like this one
                        status.st_mode & _ODD == stat.S_IFREG
                        and (status.st_uid == owner or owner is None)
                        and status.st_size < HOLES_FROM
                    ):
                        files[path] = status.st_size
                    elif stat.S_ISDIR(status.st_mode):
                        self._enter(level, name, path)
                        return True
                    else:
                        problem = self._entry(opened.descriptor, name, path, status)
            except OSError as error:
                problem = vanished(error, path)
                if isinstance(error, Restricted):
                    found.foreign.append(path)
                elif isinstance(error, PermissionError):
                    found.unreadable.append(path)
            if problem is not None:
                found.invalid[path] = problem
        return False

    def _enter(self, level: _Level, name: str, path: str) -> None:
        opened = level.opening.open(name)
        try:
            if self._owner is not None:
                check_foreign(opened.descriptor, os.fstat(opened.descriptor), self._owner, LIST)
            self.found.directories.append(path)
            names = self._not_ignored(opened, path + "/")
            if not names:
                self.found.empty.append(path)
            if len(self._levels) >= OPEN_LEVELS:
                self._levels[-OPEN_LEVELS].suspend()
        except BaseException:
            os.close(opened.descriptor)
            raise
        self._levels.append(_Level(self._pool, opened, path + "/", names))

    def _leave(self) -> None:
        left = self._levels.pop()
        try:
            if self._levels and self._levels[-1].identity is not None:
                self._levels[-1].resume(left.opened.descriptor)
        finally:
            left.close()

    def _not_ignored(self, opened: Directory, prefix: str) -> list[str]:
        """The names to scan in an open directory, sorted; records the others."""
        internal = "." if self._ignore_dot else INTERNAL_PREFIX
        names = sorted([name for name in opened.names if not name.startswith(internal)])
        if len(names) < len(opened.names):
            ignored = sorted(set(opened.names) - set(names))
            self.found.ignored.extend(prefix + name for name in ignored)
        return names

    def _path_problem(self, name: str, path: str) -> str | None:
        if (problem := file_name_problem(name)) is not None:
            return f"has a name that {problem}"
        return path_problem(path, self._longest)

    def _entry(self, parent: int, name: str, path: str, status: os.stat_result) -> str | None:
        """Record an entry, no directory, of an open one; what is wrong with it, if anything."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if status.st_uid != self._owner and self._owner is not None:
                if is_foreign_link(status, self._owner):
                    return FOREIGN_LINK
                check_foreign(f"/proc/self/fd/{parent}/{name}", status, self._owner, READ)
            size = status.st_size
            self.found.files[path] = size
            if mode & stat.S_IXUSR:
                self.found.executable.append(path)
            if size >= HOLES_FROM and may_have_holes(status):
                self.found.sparse[path] = allocated(status)
        elif stat.S_ISLNK(mode):  # the directory does not report kinds
            self.found.symlinks[path] = os.readlink(name, dir_fd=parent)
        else:
            return (
                f"is {kind_of(status.st_mode)}; only files, directories and symbolic links "
                "can be published"
            )
        return None


def scan_source(
    directory: str,
    *,
    ignore_dot: bool,
    owner: int | None,
    cancel: CancelToken,
    longest: int = LONGEST_PATH,
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
        return scan(descriptor, ignore_dot=ignore_dot, owner=owner, cancel=cancel, longest=longest)


def scan(
    directory: int,
    *,
    ignore_dot: bool,
    owner: int | None,
    cancel: CancelToken,
    longest: int = LONGEST_PATH,
    width: int = 1,
) -> Scan:
    """Scan what is below the open ``directory``.

    With ``owner`` (a user ID), files and directories of other users are invalid unless everybody
    may read them, and so are hard links to them; so is what has a path of more than ``longest``
    bytes, see :func:`longest_path`. Checks ``cancel`` for every directory. Up to ``width`` threads
    read a slow filesystem.
    """
    with StatPool(width) as pool:
        scanner = _Scanner(pool, ignore_dot=ignore_dot, owner=owner, longest=longest, cancel=cancel)
        scanner.scan(os.dup(directory))
    return scanner.found


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
        hint = FOREIGN_HINT if isinstance(error, Restricted) else let_others_read(source)
        return Refused(reason, code=Code.UNREADABLE, hint=hint)
    if error.errno == errno.EWOULDBLOCK:
        return Refused(
            reason,
            code=Code.FILE_IN_USE,
            hint="Upload again when no process has it open for writing.",
        )
    return Refused(reason, code=Code.SOURCE_CHANGED)
