"""Links: where a symbolic link leads, and how the registry represents it.

A link of the registry is a symbolic link with a *relative* target, straight to the real
file, so chains never grow past one hop and the whole registry can be moved.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gobbler.model.names import (
    VersionKey,
    file_name_problem,
    has_internal,
    is_internal,
    name_problem,
    split_path,
)
from gobbler.model.records import Link, Links, Manifest


class InSource(Struct, frozen=True, gc=False):
    """The target is below the source directory; ``path`` is relative to it."""

    path: str


class InRegistry(Struct, frozen=True):
    """The target is a file of a version."""

    key: VersionKey
    path: str


class InWhitelist(Struct, frozen=True, gc=False):
    """The target is below a whitelisted directory; ``root`` and ``path`` make it up."""

    root: str
    path: str

    @property
    def target(self) -> str:
        """The absolute path."""
        return posixpath.join(self.root, self.path)


class Nowhere(Struct, frozen=True, gc=False):
    """The link can't be published, because its target ``problem``."""

    problem: str


Target = InSource | InRegistry | InWhitelist | Nowhere

SOURCE_ITSELF = Nowhere("is the source directory itself")

OUTSIDE = Nowhere("is neither in the source, nor in the registry, nor in a whitelisted directory")


@dataclass(frozen=True)
class Places:
    """The absolute directories that a link may lead to.

    Each may be known by several paths (as it was given, and with its own links resolved).
    """

    source: Sequence[str]
    registry: Sequence[str]
    whitelist: Sequence[str]


def below(path: str, root: str) -> str | None:
    """``path`` relative to ``root``: ``""`` if it is ``root``; ``None`` if it is elsewhere.

    Both are absolute and normalised.
    """
    if path == root:
        return ""
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def absolute_target(directory: str, target: str) -> str:
    """The absolute target of a link in the absolute ``directory`` with the text ``target``.

    That is what the text says. What it means depends on links on the way; see :class:`Locator`.
    """
    return "/" + posixpath.normpath(posixpath.join(directory, target)).lstrip("/")


def locate(path: str, places: Places) -> Target:
    """The target at the absolute, normalised ``path``."""
    for root in places.source:
        inner = below(path, root)
        if inner == "":
            return SOURCE_ITSELF
        if inner is not None:
            return InSource(inner)
    for root in places.registry:
        inner = below(path, root)
        if inner is not None:
            return _in_registry(inner)
    for root in places.whitelist:
        inner = below(path, root)
        if inner:
            return InWhitelist(root, inner)
    return OUTSIDE


RealDirectory = Callable[[str], "str | Nowhere"]
"""Asks the filesystem for the path, without links, of the directory at an absolute path."""


class _Directory(NamedTuple):
    """A directory of targets: its path without links, and what the targets of its files have in
    common, where that can be told.
    """

    path: str
    inside: InSource | InRegistry | None


class Locator:
    """The targets of the symbolic links in the tree at ``at``, fast for many of them.

    Behind a link to a directory, ``..`` leads elsewhere than the text says. So ``real`` is asked
    about each directory that the text may reach by a link. The text is enough for ``directories``
    (those of the tree; ``at`` is its absolute path without links) and in versions, which hold no
    links to directories.
    """

    def __init__(
        self, places: Places, at: str, directories: Iterable[str], real: RealDirectory
    ) -> None:
        self._places = places
        self._at = at
        self._directories = {"", *directories}
        self._real = real
        roots = (*places.source, *places.registry, *places.whitelist)
        self._above = {posixpath.dirname(root) for root in roots}
        self._known: dict[tuple[str, str], _Directory | Nowhere] = {}

    def __call__(self, directory: str, text: str) -> Target:
        """The target of a link in ``directory`` of the tree with that ``text``."""
        found, name = self._found(directory, text)
        if isinstance(found, Nowhere):
            return found
        inside = found.inside
        if inside is None or name == "" or is_internal(name):
            return locate(_joined(found.path, name), self._places)
        if isinstance(inside, InRegistry):
            return InRegistry(inside.key, inside.path + name)
        return InSource(inside.path + name)

    def path(self, directory: str, text: str) -> str | Nowhere:
        """The path of that target, by directories without links."""
        found, name = self._found(directory, text)
        return found if isinstance(found, Nowhere) else _joined(found.path, name)

    def _found(self, directory: str, text: str) -> tuple[_Directory | Nowhere, str]:
        head, slash, name = text.rpartition("/")
        if name in ("", ".", ".."):
            head, slash, name = text, "", ""
        here = "" if text.startswith("/") else directory
        head += slash  # of a target directly in the root, the slash is all there is
        try:
            return self._known[here, head], name
        except KeyError:
            found = self._known[here, head] = self._directory(directory, head)
            return found, name

    def _directory(self, directory: str, head: str) -> _Directory | Nowhere:
        there = self._by_text(directory, head) or self._by_filesystem(directory, head)
        if isinstance(there, Nowhere):
            return there
        inside = locate(_joined(there, "x"), self._places)
        if there in self._above or not isinstance(inside, InSource | InRegistry):
            return _Directory(there, None)
        return _Directory(there, replace(inside, path=inside.path[:-1]))

    def _by_text(self, directory: str, head: str) -> str | None:
        """The directory ``head``, unless the text passes what may be a link."""
        path = "/" if head.startswith("/") else f"{self._at}/{directory}".rstrip("/")
        is_real = True
        for part in head.split("/"):
            if part == "..":
                if not is_real:
                    return None
                path = posixpath.dirname(path)
            elif part not in ("", "."):
                path = _joined(path, part)
                is_real = self._is_real(path)
        inside = locate(_joined(path, "x"), self._places)
        if is_real or isinstance(inside, InRegistry) or self._is_of_tree(inside):
            return path
        return None

    def _is_real(self, path: str) -> bool:
        """Whether ``path`` is a directory that no link leads to, as far as it is known."""
        inner = below(path, self._at)
        return below(self._at, path) is not None if inner is None else inner in self._directories

    def _is_of_tree(self, inside: Target) -> bool:
        """Whether the file ``x`` is in a directory of the tree, by another name of its path."""
        return isinstance(inside, InSource) and (
            inside.path.rpartition("/")[0] in self._directories
        )

    def _by_filesystem(self, directory: str, head: str) -> str | Nowhere:
        asked = posixpath.join(self._at, directory, head)
        real = self._real(asked)
        if isinstance(real, Nowhere):
            return real
        # A whitelisted directory keeps the name by which the administrator and the user know it.
        plain = absolute_target("/", asked)
        for root in self._places.whitelist:
            inner = below(plain, root)
            there = None if inner is None else self._real(root)
            if isinstance(there, str) and real == _joined(there, inner or ""):
                return plain
        return real


def _joined(directory: str, name: str) -> str:
    if not name:
        return directory
    return f"/{name}" if directory == "/" else f"{directory}/{name}"


def _in_registry(path: str) -> Target:
    if has_internal(path):
        return Nowhere("is one of the registry's internal files")
    found = split_path(path)
    if found is None or found[1] == "":
        return Nowhere("is a directory of the registry, not a file of a version")
    return InRegistry(*found)


def relative_target(at: str, to: str) -> str:
    """The text of a symbolic link at ``at`` that leads to ``to`` (paths in the registry)."""
    directory, _, name = to.rpartition("/")
    return _way(at.rpartition("/")[0], directory) + name


MAX_KEPT = 1024
"""Characters of the longest path that is kept in a cache; users choose how long paths are."""


def _way(here: str, there: str) -> str:
    """From one directory to another: nothing, or steps that each end with a slash."""
    return (_short_way if len(here) + len(there) <= MAX_KEPT else _any_way)(here, there)


def _any_way(here: str, there: str) -> str:
    left, right = here.split("/") if here else [], there.split("/") if there else []
    common = 0
    while common < min(len(left), len(right)) and left[common] == right[common]:
        common += 1
    return "".join(f"{step}/" for step in [".."] * (len(left) - common) + right[common:])


_short_way = functools.lru_cache(1024)(_any_way)  # most links of a directory lead to one other


def symlink_text(key: VersionKey, path: str, link: Link) -> str:
    """The text of the symbolic link that stands for ``link`` at ``path`` of version ``key``."""
    end = link.ancestor or link
    there, _, name = end.path.rpartition("/")
    here = path.rpartition("/")[0]
    return _way_between(key, here, end.project, end.asset, end.version, there) + name


MAX_TEXT_BYTES = 4095
"""The longest text of a symbolic link."""


def fits_in_text(path: str, link: Link, *, levels: int = 0) -> bool:
    """Whether a symbolic link at ``path`` can have the text for ``link``, whatever they share.

    ``levels``: the number of directories above the deepest other link that leads to ``path``.
    """
    end = link.ancestor or link
    up = 3 * (max(levels, path.count("/")) + 3)
    slashes = 3
    down = len(end.project) + len(end.asset) + len(end.version) + len(end.path) + slashes
    if up + 4 * down <= MAX_TEXT_BYTES:
        return True
    return up + len(end.key.file(end.path).encode()) <= MAX_TEXT_BYTES


def text_problem(key: VersionKey, path: str, link: Link) -> str | None:
    """What is wrong with the text of a symbolic link for ``link`` at ``path``, if anything."""
    if fits_in_text(path, link) or len(symlink_text(key, path, link).encode()) <= MAX_TEXT_BYTES:
        return None
    return f"is so far away that the text of the link has more than {MAX_TEXT_BYTES} bytes"


def _way_between(
    key: VersionKey, here: str, project: str, asset: str, version: str, there: str
) -> str:
    """From the directory ``here`` of version ``key`` to ``there`` of another version."""
    length = sum(map(len, (*key, here, project, asset, version, there)))
    way = _short_way_between if length <= MAX_KEPT else _any_way_between
    return way(key, here, project, asset, version, there)


def _any_way_between(
    key: VersionKey, here: str, project: str, asset: str, version: str, there: str
) -> str:
    other = VersionKey(project, asset, version)
    return _way(key.file(here) if here else key.path, other.file(there) if there else other.path)


_short_way_between = functools.lru_cache(1024)(_any_way_between)


def link_to(key: VersionKey, path: str, manifest: Manifest) -> Link:
    """A link to ``path`` of version ``key``, whose ``manifest`` has the ancestor."""
    parent = manifest[path].link
    return Link.to(key, path, None if parent is None else bare(parent.end))


def bare(link: Link) -> Link:
    """The same without an ancestor."""
    return link if link.ancestor is None else Link.to(link.key, link.path)


def link_problem(link: Link) -> str | None:
    """The problem with a ``link`` that was read from a record; ``None`` if it is valid."""
    if (problem := _names_problem(link.project, link.asset, link.version)) is not None:
        return problem
    if not _PLAIN_PATH.fullmatch(link.path) and (problem := path_problem(link.path)) is not None:
        return f"its path {problem}"
    if link.ancestor is None:
        return None
    if link.ancestor.ancestor is not None:
        return "its ancestor has an ancestor"
    inner = link_problem(link.ancestor)
    return None if inner is None else f"of its ancestor: {inner}"


def _names_problem(project: str, asset: str, version: str) -> str | None:
    # What is kept must not be as long as a user likes.
    if len(project) + len(asset) + len(version) > MAX_KEPT:
        return _any_names_problem(project, asset, version)
    return _short_names_problem(project, asset, version)


def _any_names_problem(project: str, asset: str, version: str) -> str | None:
    for what, name in (("project", project), ("asset", asset), ("version", version)):
        if (problem := name_problem(name)) is not None:
            return f"its {what} {problem}"
    return None


_short_names_problem = functools.lru_cache(1024)(_any_names_problem)


_PLAIN_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99})*")
"""A plain path, which needs no further check."""


def path_problem(path: str) -> str | None:
    """The problem with ``path`` for a user's file in a version; ``None`` if it is valid."""
    if _PLAIN_PATH.fullmatch(path):
        return None
    for part in path.split("/"):
        if part in ("", "."):
            return "is not in its plainest form"
        if part.startswith(".."):
            return "leaves the version or names an internal file"
        if (problem := file_name_problem(part)) is not None:
            return problem
    return None


def links_by_directory(manifest: Manifest) -> dict[str, Links]:
    """The ``..links`` of each directory (``""``: the version itself) that has links."""
    found: dict[str, Links] = {}
    for path, entry in manifest.items():
        if entry.link is not None:
            directory, _, name = path.rpartition("/")
            found.setdefault(directory, {})[name] = entry.link
    return found


def usage_of(manifest: Manifest) -> int:
    """Bytes that a version uses: the sizes of its entries without a link."""
    return sum(entry.size for entry in manifest.values() if entry.link is None)


def versions_linked(manifest: Manifest) -> set[VersionKey]:
    """The versions that links of ``manifest`` name, as a parent or as an ancestor."""
    found = set()
    for entry in manifest.values():
        if (link := entry.link) is not None:
            found.add((link.project, link.asset, link.version))
            if (end := link.ancestor) is not None:
                found.add((end.project, end.asset, end.version))
    return {VersionKey(*names) for names in found}
