"""Deduplication: which files of the latest version a new file may be the same as.

Size and checksum only *nominate*: before a link replaces content, the bytes are compared
(two files can be crafted to share an MD5).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gobbler.names import VersionKey
from gobbler.records import Link, Manifest
from gobbler.rules.links import link_to


@dataclass(frozen=True)
class Twins:
    """The files of one published version, by size and checksum."""

    key: VersionKey
    manifest: Manifest
    _by_size: dict[int, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, key: VersionKey, manifest: Manifest) -> Twins:
        """The twins that version ``key`` offers."""
        by_size: dict[int, dict[str, str]] = {}
        for path, entry in manifest.items():
            if not entry.is_directory:
                by_size.setdefault(entry.size, {}).setdefault(entry.md5sum, path)
        return cls(key, manifest, by_size)

    def same_path(self, path: str, size: int) -> str | None:
        """The checksum of the file at the same ``path``, if it has the same ``size``."""
        entry = self.manifest.get(path)
        if entry is None or entry.is_directory or entry.size != size:
            return None
        return entry.md5sum

    def of_size(self, size: int) -> dict[str, str]:
        """Paths by checksum, of the files of ``size`` bytes."""
        return self._by_size.get(size, {})

    def link(self, path: str) -> Link:
        """The link that a new file gets which is the same as ``path`` here."""
        return link_to(self.key, path, self.manifest)

    def real_path(self, path: str) -> str:
        """Where the bytes of ``path`` stand, relative to the registry."""
        end = self.link(path).end
        return end.key.file(end.path)
