"""The difference between two versions, computed from their manifests.

Two files are the same if size and MD5 are. Whether a file is stored as a link makes no difference.
Only empty directories count, because a manifest lists no others: a directory that was filled or
emptied is neither added nor removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gobbler.model.records import Entry, Link, Manifest


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
