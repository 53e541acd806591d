"""Versions that a client has shown: an approval is for what its user has seen."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from msgspec import Struct

from gobbler.client.parallel import ForkSafeLock
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest, Summary

T = TypeVar("T")


class Review(Struct, frozen=True):
    """A version as it was reviewed: its records, and the digest that an approval names.

    ``digest``: the SHA-256 of ``..summary`` followed by ``..manifest``.
    """

    summary: Summary
    manifest: Manifest
    digest: str


class ShownVersions:
    """The records that a client has shown of each version; safe to share between threads.

    A manifest can be large, so it is kept for the last few versions only, and its hash for others.
    """

    MANIFESTS = 8
    VERSIONS = 10_000

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._summaries: OrderedDict[VersionKey, Summary] = OrderedDict()
        self._manifests: OrderedDict[VersionKey, Manifest] = OrderedDict()
        self._hashes: OrderedDict[VersionKey, int] = OrderedDict()

    def summary(self, key: VersionKey, summary: Summary) -> None:
        """Remember that ``summary`` was shown."""
        with self._lock:
            self._summaries[key] = summary
            _keep_last(self._summaries, self.VERSIONS)

    def manifest(self, key: VersionKey, manifest: Manifest, *, again: bool = True) -> None:
        """Remember that ``manifest`` was shown; unless ``again``, only if none was shown before."""
        with self._lock:
            if not again and (key in self._manifests or key in self._hashes):
                return
            self._hashes.pop(key, None)
            self._manifests[key] = manifest
            self._manifests.move_to_end(key)
            for older, shown in _keep_last(self._manifests, self.MANIFESTS):
                self._hashes[older] = _hash(shown)
            _keep_last(self._hashes, self.VERSIONS)

    def is_other(self, key: VersionKey, found: Review) -> bool:
        """Whether ``found`` differs from what was shown of it."""
        with self._lock:
            summary = self._summaries.get(key, found.summary)
            manifest = self._manifests.get(key, found.manifest)
            known = self._hashes.get(key)
        if summary != found.summary or manifest != found.manifest:
            return True
        return known is not None and known != _hash(found.manifest)

    def forget(self, key: VersionKey) -> None:
        """Forget what was shown of a version."""
        with self._lock:
            self._summaries.pop(key, None)
            self._manifests.pop(key, None)
            self._hashes.pop(key, None)


def _keep_last(kept: OrderedDict[VersionKey, T], count: int) -> list[tuple[VersionKey, T]]:
    removed = []
    while len(kept) > count:
        removed.append(kept.popitem(last=False))
    return removed


def _hash(manifest: Manifest) -> int:
    return hash(frozenset(manifest.items()))
