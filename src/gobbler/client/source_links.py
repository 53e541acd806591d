"""Symbolic links of a directory that is uploaded: in its copy, and followed."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.access import ENTER, LIST, READ, Restricted, check_foreign
from gobbler.fs.open import kind_of, user_name
from gobbler.fs.sparse import allocated, may_have_holes
from gobbler.model.progress import NeverCancelled
from gobbler.rules.links import (
    OUTSIDE,
    InRegistry,
    InSource,
    Locator,
    Nowhere,
    Places,
    RealDirectory,
    absolute_target,
    below,
    relative_target,
)
from gobbler.rules.upload_plan import Scan
from gobbler.transfer.scan import path_problem, real_path, scan_source

MAX_FOLLOWED = 1_000_000
"""Largest number of entries that links may add: they can multiply without being a circle."""

Follower = Callable[[str, int], Scan]
"""Scans an absolute directory for paths of that many bytes at most, and follows its links."""


def moved_links(found: Scan, real: str, given: str) -> dict[str, str]:
    """The texts of the symlinks in a copy of the directory at ``real``, also called ``given``.

    Each leads to the same file: a link within the source becomes relative, so that it leads into
    the copy, and one that leaves the source becomes absolute.
    """
    places = Places(source=(real, given), registry=(), whitelist=())
    locator = Locator(places, real, found.directories, real_around(real))
    moved: dict[str, str] = {}
    for path, text in found.symlinks.items():
        directory = path.rpartition("/")[0]
        target = locator(directory, text)
        if isinstance(target, InSource):
            moved[path] = relative_target(path, target.path)
        elif text.startswith("/"):
            moved[path] = text
        else:
            there = locator.path(directory, text)
            if isinstance(there, Nowhere):
                there = absolute_target(f"{real}/{directory}", text)
            moved[path] = there
    return moved


def real_around(source: str) -> RealDirectory:
    """Asks this machine for paths without links, for links of the directory ``source``.

    What is missing here, but not below the source, may be there on the host of the service. It is
    outside, as far as is known.
    """

    def real(directory: str) -> str | Nowhere:
        found = real_path(directory)
        is_below = below(absolute_target("/", directory), source) is not None
        return OUTSIDE if isinstance(found, Nowhere) and not is_below else found

    return real


def follow_links(
    directory: str, longest: int, *, ignore_dot: bool, registry: Sequence[str]
) -> Scan:
    """Scan an absolute ``directory``, and take what its links lead to in their place.

    Links within the directory, and into the ``registry`` (by each of its paths), stay links.
    Raises :class:`~gobbler.errors.Refused` if the directory can't be read, or links would add more
    than :data:`MAX_FOLLOWED` entries. What can't be followed is invalid: links to nothing, to
    what is no file or directory, or in a circle; and what has a path of more than ``longest``
    bytes.
    """
    return _Following(directory, longest, registry, ignore_dot=ignore_dot).scan()


@dataclass(frozen=True)
class _Tree:
    """A scanned directory: its path, its path in the copy (empty, or with a slash at its end), and
    the identities of the directories above it that links have led through.
    """

    path: str
    prefix: str
    found: Scan
    through: frozenset[tuple[int, int]]


class _Link(NamedTuple):
    path: str
    at: str
    status: os.stat_result


class _Following:
    def __init__(
        self, directory: str, longest: int, registry: Sequence[str], *, ignore_dot: bool
    ) -> None:
        self._top = os.path.realpath(directory)
        self._given = directory
        self._longest = longest
        self._ignore_dot = ignore_dot
        self._registry = registry
        self._found = Scan({}, {}, [], [], {})
        self._left = MAX_FOLLOWED

    def scan(self) -> Scan:
        pending = deque([_Tree(self._top, "", self._scanned(self._top, ""), frozenset())])
        while pending:
            tree = pending.popleft()
            self._add(tree)
            for link in self._links(tree):
                if stat.S_ISDIR(link.status.st_mode):
                    pending.extend(self._directory(tree, link))
                elif stat.S_ISREG(link.status.st_mode):
                    self._file(link)
                else:
                    kind = kind_of(link.status.st_mode)
                    self._found.invalid[link.path] = f"is a symbolic link to {kind}"
        return self._found

    def _scanned(self, directory: str, prefix: str, owner: int | None = None) -> Scan:
        return scan_source(
            directory,
            ignore_dot=self._ignore_dot,
            owner=owner,
            cancel=NeverCancelled(),
            longest=self._longest - len(os.fsencode(prefix)),
        )

    def _add(self, tree: _Tree) -> None:
        """Take what is in ``tree`` but its links."""
        found, prefix = tree.found, tree.prefix
        if prefix:
            self._count(len(found.files) + len(found.directories) + len(found.symlinks))
        for path, size in found.files.items():
            self._found.files[prefix + path] = size
            if prefix:
                self._found.elsewhere[prefix + path] = f"{tree.path}/{path}"
        for listed, into in (
            (found.directories, self._found.directories),
            (found.empty, self._found.empty),
            (found.ignored, self._found.ignored),
            (found.executable, self._found.executable),
            (found.unreadable, self._found.unreadable),
            (found.foreign, self._found.foreign),
        ):
            into.extend(prefix + path for path in listed)
        for path, problem in found.invalid.items():
            self._found.invalid[prefix + path] = problem
        for path, size in found.sparse.items():
            self._found.sparse[prefix + path] = size

    def _count(self, entries: int) -> None:
        self._left -= entries
        if self._left < 0:
            raise Refused(
                f"the links of {quoted(self._given)} lead to more than {MAX_FOLLOWED} entries",
                code=Code.INVALID_SOURCE,
                hint="Do they lead to the same directories again and again? Copy what you need.",
            )

    def _links(self, tree: _Tree) -> Iterator[_Link]:
        """The links of ``tree`` that are to be followed; keeps the others."""
        roots = (self._top, self._given) if not tree.prefix else (tree.path,)
        places = Places(source=roots, registry=self._registry, whitelist=())
        locator = Locator(places, tree.path, tree.found.directories, real_around(tree.path))
        for path, text in tree.found.symlinks.items():
            into, at = tree.prefix + path, f"{tree.path}/{path}"
            directory = path.rpartition("/")[0]
            target = locator(directory, text)
            if isinstance(target, InRegistry):
                there = locator.path(directory, text)
                self._found.symlinks[into] = there if isinstance(there, str) else text
                continue
            try:
                status = os.stat(at)
            except OSError as error:
                self._found.invalid[into] = (
                    f"is a symbolic link that can't be followed to {quoted(text)}: {error.strerror}"
                )
                continue
            is_taken = isinstance(target, InSource) and (
                target.path in tree.found.files or target.path in tree.found.symlinks
            )
            if is_taken and stat.S_ISREG(status.st_mode) and not tree.prefix:
                self._found.symlinks[into] = text
            else:
                yield _Link(into, at, status)

    def _file(self, link: _Link) -> None:
        self._count(1)
        problem = _foreign_problem(link, os.path.realpath(link.at), READ)
        if problem is not None:
            self._found.invalid[link.path] = problem
            return
        self._found.files[link.path] = link.status.st_size
        self._found.elsewhere[link.path] = os.path.realpath(link.at)
        if may_have_holes(link.status):
            self._found.sparse[link.path] = allocated(link.status)
        if link.status.st_mode & stat.S_IXUSR:
            self._found.executable.append(link.path)

    def _directory(self, tree: _Tree, link: _Link) -> Iterator[_Tree]:
        identity = (link.status.st_dev, link.status.st_ino)
        through = tree.through | set(_identities(tree.path, link.at))
        if identity in through:
            self._found.invalid[link.path] = "is a symbolic link to a directory that it is in"
            return
        # Each level of links takes two bytes at least, so this also bounds their nesting.
        if (problem := path_problem(link.path, self._longest)) is not None:
            self._found.invalid[link.path] = problem
            return
        real = os.path.realpath(link.at)
        problem = _foreign_problem(link, real, LIST)
        if problem is not None:
            self._found.invalid[link.path] = problem
            return
        found = self._scanned(real, f"{link.path}/", _foreign_owner(link))
        self._found.directories.append(link.path)
        if not (found.files or found.symlinks or found.directories or found.invalid):
            self._found.empty.append(link.path)
        yield _Tree(real, f"{link.path}/", found, frozenset(through))


def _identities(top: str, at: str) -> Iterator[tuple[int, int]]:
    """Device and inode of the directory ``top`` and of each below it on the way to ``at``."""
    directory = os.path.dirname(at)
    while True:
        status = os.stat(directory)
        yield status.st_dev, status.st_ino
        if directory == top:
            return
        directory = os.path.dirname(directory)


def _foreign_owner(link: _Link) -> int | None:
    """The user ID of the owner of ``link``, unless that is the user or root."""
    owner = os.lstat(link.at).st_uid
    return None if owner in (0, os.geteuid()) else owner


def _foreign_problem(link: _Link, real: str, permissions: int) -> str | None:
    """Why a link of another user must not be followed to the path ``real``, if it must not.

    Its owner could lead the user to files that are only the user's to read.
    """
    owner = _foreign_owner(link)
    if owner is None:
        return None
    try:
        check_foreign(real, os.stat(real), owner, permissions)
        above = os.path.dirname(real)
        while above != os.path.dirname(above):
            check_foreign(above, os.stat(above), owner, ENTER)
            above = os.path.dirname(above)
    except Restricted:
        return (
            f"is a symbolic link of {quoted(user_name(owner))} to {quoted(real)}, which not "
            "everybody may read"
        )
    return None
