"""Deduplication: which published files a new file may be the same as.

Equal size and checksum only make a file a *candidate*: two files can be crafted to share an MD5. So
the bytes are compared before a link replaces a file.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Link, Manifest
from gobbler.rules.links import bare, link_problem, link_to

Content = tuple[int, str]
"""The content of a file: its size in bytes, and its MD5."""


class Dedup(enum.Enum):
    """Which versions have dedup candidates: the latest of the asset, all final ones of the asset,
    or all final ones of the project.
    """

    LATEST = "latest"
    ASSET = "asset"
    PROJECT = "project"


class DedupCandidates(Protocol):
    """Published files that a new file may equal."""

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """The file at the same ``path`` of the latest version, if it has the same ``size``.

        Returns its checksum, and the link for a new file that equals it.
        """

    def with_contents(self, contents: Collection[Content]) -> dict[Content, Link]:
        """For each published one of ``contents``, the link to a file with it."""


@dataclass(frozen=True)
class VersionCandidates:
    """The files of one published version, by size and checksum.

    ``_bad``: paths that a damaged manifest lists with a link that leads to no file of a version.
    """

    key: VersionKey
    manifest: Manifest
    _by_size: dict[int, dict[str, str]] = field(default_factory=dict)
    _bad: frozenset[str] = frozenset()

    @classmethod
    def of(cls, key: VersionKey, manifest: Manifest) -> VersionCandidates:
        """The files of version ``key`` as candidates."""
        by_size: dict[int, dict[str, str]] = {}
        bad = set()
        for path, entry in manifest.items():
            if entry.link is not None and link_problem(entry.link) is not None:
                bad.add(path)
            elif entry.md5sum:
                by_size.setdefault(entry.size, {}).setdefault(entry.md5sum, path)
        return cls(key, manifest, by_size, frozenset(bad))

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """See :class:`DedupCandidates`."""
        entry = self.manifest.get(path)
        if entry is None or entry.size != size or not entry.md5sum or path in self._bad:
            return None
        project, asset, version = self.key
        parent = entry.link
        end = None if parent is None else bare(parent.end)
        return entry.md5sum, Link(project, asset, version, path, end)

    def with_contents(self, contents: Collection[Content]) -> dict[Content, Link]:
        """See :class:`DedupCandidates`."""
        return {
            (size, md5sum): link_to(self.key, path, self.manifest)
            for size, md5sum in contents
            if (path := self.of_size(size).get(md5sum)) is not None
        }

    def of_size(self, size: int) -> dict[str, str]:
        """Paths by checksum, of the files of ``size`` bytes."""
        return self._by_size.get(size, {})


@dataclass(frozen=True)
class CandidatesWithout:
    """The ``candidates`` without those whose link leads to one of ``versions``."""

    candidates: DedupCandidates
    versions: Collection[VersionKey]

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """See :class:`DedupCandidates`."""
        found = self.candidates.at_path(path, size)
        return None if found is None or self._excludes(found[1]) else found

    def with_contents(self, contents: Collection[Content]) -> dict[Content, Link]:
        """See :class:`DedupCandidates`."""
        found = self.candidates.with_contents(contents)
        return {content: link for content, link in found.items() if not self._excludes(link)}

    def _excludes(self, link: Link) -> bool:
        return link.key in self.versions or link.end.key in self.versions


def contents_of(manifest: Manifest) -> dict[Content, bool]:
    """The contents of the files of ``manifest``; ``True`` for one that only links have."""
    found: dict[Content, bool] = {}
    for entry in manifest.values():
        if not entry.is_directory:
            content = (entry.size, entry.md5sum)
            found[content] = entry.link is not None and found.get(content, True)
    return found


def shared(own: Collection[Content], key: VersionKey, other: Mapping[Content, bool]) -> Shared:
    """How much of ``own`` the version ``key`` with the contents ``other`` shares."""
    files = size = stored = 0
    for content in own:
        linked = other.get(content)
        if linked is not None and content[0] > 0:
            files += 1
            size += content[0]
            stored += 0 if linked else content[0]
    return Shared(key.path, files, size, stored)
