"""Manifests that one request reads several times, decoded once.

An upload looks for dedup candidates, for the targets of its links, and at the end whether all that
it links to is still there: often in one and the same version. Decoding the manifest of ten thousand
files takes as long as copying a thousand of them.
"""

from __future__ import annotations

from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest
from gobbler.registry.registry import Registry

REMEMBERED_FILES = 50_000
"""Number of files up to which a manifest is kept, so that memory stays flat."""

REMEMBERED = 2
"""Number of manifests that are kept."""


class RememberedManifests(Registry):
    """A registry as one request reads it. Nobody changes the manifests that it returns.

    A manifest counts as the same while its file has the same fingerprint, as everywhere else.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._kept: dict[VersionKey, tuple[Fingerprint, Manifest]] = {}

    def manifest(self, key: VersionKey) -> Manifest:
        """The manifest of a version."""
        fingerprint = self._fingerprint(key)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == fingerprint:
            return kept[1]
        manifest = super().manifest(key)
        # Only if it is the same file after the reading as before, it is the one that was read.
        if (
            fingerprint is not None
            and len(manifest) <= REMEMBERED_FILES
            and self._fingerprint(key) == fingerprint
        ):
            self._kept[key] = fingerprint, manifest
            if len(self._kept) > REMEMBERED:
                del self._kept[next(iter(self._kept))]
        return manifest

    def _fingerprint(self, key: VersionKey) -> Fingerprint | None:
        try:
            return self.fingerprint(key.manifest)
        except OSError:
            return None  # reading it tells what is wrong
