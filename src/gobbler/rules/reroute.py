"""Where links lead after a deletion.

A link whose parent or ancestor is deleted gets a new parent: the first file along its chain of
parents that survives. If none survives, a copy of the file replaces the link. For example, version
1 has the file, 2 links to 1, and 3 links to 2. To delete 1, the file is copied into 2, and the link
in 3 leads to 2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gobbler.errors import Code, Fault, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Link, Manifest
from gobbler.rules.links import bare, link_problem

FilePlace = tuple[VersionKey, str]
"""A file: its version, and its path in it."""


class Change(NamedTuple):
    """The change of one link: its new ``entry``, and the former link.

    ``source`` is the path of the deleted file that causes the change.
    """

    key: VersionKey
    path: str
    entry: Entry
    former: Link
    source: str

    @property
    def is_copy(self) -> bool:
        """Whether the link is replaced by a copy of the file."""
        return self.entry.link is None

    def to_dict(self) -> dict[str, object]:
        """The change as it is in the answer; ``usage`` is in bytes."""
        return {
            "path": self.key.file(self.path),
            "copy": self.is_copy,
            "source": self.source,
            "usage": self.entry.size if self.is_copy else 0,
        }


@dataclass
class Rerouting:
    """The new entries of links; each is computed once."""

    deleted: Collection[VersionKey]
    manifest_of: Callable[[VersionKey], Manifest]
    _new: dict[FilePlace, Entry] = field(default_factory=dict)

    def changes(self, key: VersionKey) -> Iterator[Change]:
        """The changes of the links of the version ``key``, which survives."""
        for path, entry in self.manifest_of(key).items():
            link = entry.link
            if link is not None and self._is_affected(link):
                cause = link if self._is_deleted(link) else link.end
                source = f"{cause.project}/{cause.asset}/{cause.version}/{cause.path}"
                yield Change(key, path, self._resolved((key, path)), link, source)

    def _is_affected(self, link: Link) -> bool:
        end = link.ancestor
        return self._is_deleted(link) or (end is not None and self._is_deleted(end))

    def _is_deleted(self, link: Link) -> bool:
        # A key is such a tuple; this is faster than making a key.
        return (link.project, link.asset, link.version) in self.deleted

    def _resolved(self, start: FilePlace) -> Entry:
        """The new entry of ``start``. Chains can be thousands long: no recursion."""
        known = self._new
        waiting = [start]
        while waiting:
            place = waiting[-1]
            if place in known:
                waiting.pop()
                continue
            entry = self._entry(place)
            if entry.link is None or not self._is_affected(entry.link):
                known[place] = entry
                continue
            parent = self._survivor(entry.link, place)
            if parent is None:
                known[place] = Entry(entry.size, entry.md5sum)
            elif parent not in known:
                if parent in waiting:
                    raise Fault(
                        f"the links from {_quoted(place)} lead in a circle", code=Code.DAMAGED_LINKS
                    )
                waiting.append(parent)
            else:
                known[place] = self._linked(entry, parent)
        return known[start]

    def _linked(self, entry: Entry, parent: FilePlace) -> Entry:
        end = self._new[parent].link
        ancestor = None if end is None else bare(end.end)
        return Entry(entry.size, entry.md5sum, Link.to(*parent, ancestor))

    def _survivor(self, link: Link, start: FilePlace) -> FilePlace | None:
        """The first file along the chain of parents that survives, if any does."""
        seen: set[FilePlace] = set()
        while self._is_deleted(link):
            place = (link.key, link.path)
            if place in seen:
                raise Fault(
                    f"the links from {_quoted(start)} lead in a circle", code=Code.DAMAGED_LINKS
                )
            seen.add(place)
            parent = self._entry(place).link
            if parent is None:
                return None
            link = parent
        return link.key, link.path

    def _entry(self, place: FilePlace) -> Entry:
        entry = self.manifest_of(place[0]).get(place[1])
        if entry is None:
            raise Fault(
                f"{_quoted(place)} is linked to, but not listed in its version's manifest",
                code=Code.DAMAGED_LINKS,
            )
        if entry.link is not None and (problem := link_problem(entry.link)) is not None:
            raise Fault(
                f"the link of {_quoted(place)} is not valid: {problem}", code=Code.DAMAGED_LINKS
            )
        return entry


def _quoted(place: FilePlace) -> str:
    return quoted(place[0].file(place[1]))
