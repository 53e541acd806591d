"""The manifest of a version as a tree, and the difference between two of them.

A manifest is a flat list of paths; :class:`Hierarchy` is the tree of directories that it stands
for. In a difference, two files are the same if size and MD5 are, whether or not one is stored as
a link. Only empty directories count, because a manifest lists no others: a directory that was
filled or emptied is neither added nor removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.model.records import Entry, Link, Manifest

Children = dict[str, "Entry | None"]
"""The content of one directory by name: the entry of a file, ``None`` for a directory."""


class Hierarchy:
    """The directories of a version, of which only the empty ones are in its manifest.

    Where a damaged manifest has files below a file, the directory hides the file.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._directories: dict[str, Children] = {"": {}}
        for path, entry in manifest.items():
            if entry.is_directory:
                self._directory(path)
            else:
                parent, _, name = path.rpartition("/")
                self._directory(parent).setdefault(name, entry)

    def _directory(self, path: str) -> Children:
        made = self._directories.setdefault(path, {})
        inner = path
        while inner:
            parent, _, name = inner.rpartition("/")
            known = parent in self._directories
            self._directories.setdefault(parent, {})[name] = None
            if known:
                break
            inner = parent
        return made

    def children(self, path: str) -> Children | None:
        """The content of the directory ``path`` (``""``: the version); ``None`` if it is none."""
        return self._directories.get(path)

    def files(self, path: str = "") -> Iterator[tuple[str, Entry]]:
        """Path and entry of every file below the directory ``path``, in no order."""
        pending = [path]
        while pending:
            directory = pending.pop()
            for name, entry in (self._directories.get(directory) or {}).items():
                full = f"{directory}/{name}" if directory else name
                if entry is None:
                    pending.append(full)
                else:
                    yield full, entry


class Pair(NamedTuple):
    """The entries of one path in the version before and in the one after."""

    before: Entry
    after: Entry

    @property
    def is_relinked(self) -> bool:
        """Whether the two are links to different files, or only one of them is a link."""
        return _end(self.before) != _end(self.after)


@dataclass(frozen=True)
class Difference:
    """The entries of two versions by path, each path in one of the four and in order."""

    added: dict[str, Entry]
    removed: dict[str, Entry]
    changed: dict[str, Pair]
    same: dict[str, Pair]

    def __bool__(self) -> bool:
        """Whether the versions differ for their readers."""
        return bool(self.added or self.removed or self.changed)


def difference(before: Manifest, after: Manifest) -> Difference:
    """The changes that turn ``before`` into ``after``."""
    both = sorted(before.keys() & after.keys())
    pairs = {path: Pair(before[path], after[path]) for path in both}
    return Difference(
        added=_only(after, before),
        removed=_only(before, after),
        changed={path: pair for path, pair in pairs.items() if not _is_same(pair)},
        same={path: pair for path, pair in pairs.items() if _is_same(pair)},
    )


def _is_same(pair: Pair) -> bool:
    before, after = pair
    return (before.size, before.md5sum) == (after.size, after.md5sum)


def _only(these: Manifest, others: Manifest) -> dict[str, Entry]:
    """The entries of ``these`` that ``others`` does not have."""
    found = {path: these[path] for path in sorted(these.keys() - others.keys())}
    empty = [path for path, entry in found.items() if entry.is_directory]
    if empty:
        filled = _directories(others)
        for path in empty:
            if path in filled:
                del found[path]
    return found


def _directories(manifest: Manifest) -> set[str]:
    """Every directory with an entry of ``manifest`` below it."""
    found: set[str] = set()
    for path in manifest:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _end(entry: Entry) -> Link | None:
    return None if entry.link is None else entry.link.end
