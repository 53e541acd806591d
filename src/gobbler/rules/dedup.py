"""Deduplication: which published files a new file may be the same as.

Size and checksum only *nominate*: before a link replaces content, the bytes are compared
(two files can be crafted to share an MD5).
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from gobbler.model.names import VersionKey
from gobbler.model.records import Link, Manifest
from gobbler.rules.links import link_to
from gobbler.rules.relations import Content


class Dedup(enum.Enum):
    """Where a new file is looked for: in the latest version of its asset alone, or also in
    all other final versions of the asset, or of the project.
    """

    LATEST = "latest"
    ASSET = "asset"
    PROJECT = "project"


class DedupCandidates(Protocol):
    """Published files that new ones may be the same as."""

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """The file at the same ``path`` of the latest version, if it has the same ``size``.

        Its checksum, and the link that a new file gets which is the same.
        """

    def with_contents(self, contents: Collection[Content]) -> dict[Content, Link]:
        """For each of ``contents`` that is published, the link to a file that has it."""


@dataclass(frozen=True)
class VersionCandidates:
    """The files of one published version, by size and checksum."""

    key: VersionKey
    manifest: Manifest
    _by_size: dict[int, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, key: VersionKey, manifest: Manifest) -> VersionCandidates:
        """The twins that version ``key`` offers."""
        by_size: dict[int, dict[str, str]] = {}
        for path, entry in manifest.items():
            if not entry.is_directory:
                by_size.setdefault(entry.size, {}).setdefault(entry.md5sum, path)
        return cls(key, manifest, by_size)

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """See :class:`DedupCandidates`."""
        entry = self.manifest.get(path)
        if entry is None or entry.is_directory or entry.size != size:
            return None
        return entry.md5sum, link_to(self.key, path, self.manifest)

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
