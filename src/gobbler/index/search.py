"""Searching the registry: by the index, or without it by reading all manifests.

The answers are the same, and so are the errors where a manifest is damaged.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gobbler.errors import Fault, Missing, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.index.database import Tables, UnusableIndex
from gobbler.index.index import Follow, Index
from gobbler.model.answers import Shared
from gobbler.model.names import AssetKey, VersionKey
from gobbler.model.progress import CancelToken
from gobbler.model.records import Link, Manifest, decode_manifest
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import (
    Content,
    Dedup,
    DedupCandidates,
    VersionCandidates,
    contents_of,
    shared,
)
from gobbler.rules.links import versions_linked

T = TypeVar("T")

Fingerprints = Mapping[VersionKey, Fingerprint]
"""A state of the registry: the fingerprint of the manifest of each version."""

Choose = Callable[[Fingerprints], Collection[VersionKey]]
"""Chooses among the existing versions."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LinkingVersions:
    """The versions outside of ``chosen`` with links into it, in the state ``fingerprints``."""

    fingerprints: Fingerprints
    chosen: frozenset[VersionKey]
    sources: list[VersionKey]


class Search:
    """Searches of one request in ``registry``, by the ``index`` if there is one.

    A damaged manifest raises :class:`~gobbler.errors.Fault` that names it, since it could belong to
    the answer.
    """

    def __init__(self, registry: Registry, index: Index | None) -> None:
        self._registry = registry
        self._index = index
        self._links: dict[VersionKey, tuple[Fingerprint, set[VersionKey]]] = {}

    def linking_into(self, choose: Choose, follow: Follow) -> LinkingVersions:
        """The versions with a link whose parent or ancestor is in a chosen version."""

        def question(tables: Tables, fingerprints: Fingerprints) -> LinkingVersions:
            chosen = frozenset(choose(fingerprints))
            sources = tables.linking_into(chosen)
            for key, manifest in self._unindexable(tables):
                if versions_linked(manifest) & chosen:
                    sources.add(key)
            return LinkingVersions(fingerprints, chosen, sorted(sources - chosen))

        found = self._asked(question, follow=follow)
        if found is not None:
            return found
        fingerprints = self._registry.fingerprints()
        chosen = frozenset(choose(fingerprints))
        sources = [key for key, links in self._all_links(fingerprints, follow) if links & chosen]
        return LinkingVersions(fingerprints, chosen, [key for key in sources if key not in chosen])

    def shared_with(self, key: VersionKey, follow: Follow) -> list[Shared]:
        """The other versions with contents of the version ``key``, in order.

        Raises :class:`~gobbler.errors.Missing` if there is no such version.
        """
        own = contents_of(self._registry.manifest(key))

        def question(tables: Tables, fingerprints: Fingerprints) -> list[Shared] | None:
            del fingerprints
            if key in tables.unindexable():
                return None  # its own contents are unknown
            return tables.shared_with(key) + _sharing(own, key, self._unindexable(tables))

        found = self._asked(question, follow=follow)
        if found is None:
            found = _sharing(own, key, self._all(self._registry.fingerprints(), follow))
        return sorted(found, key=lambda other: other.version.split("/"))

    def holding(
        self,
        contents: Iterable[Content],
        *within: str,
        is_wanted: Callable[[VersionKey], bool],
        follow: Follow,
    ) -> dict[VersionKey, list[Content]]:
        """For ``contents`` that are found, a version with each.

        ``within``: the project, or the project and the asset, to search. Needs the index: without a
        usable one, finds nothing.
        """

        def question(tables: Tables, fingerprints: Fingerprints) -> dict[VersionKey, list[Content]]:
            del fingerprints
            found: dict[VersionKey, list[Content]] = defaultdict(list)
            for content, key in tables.holding(contents, within, is_wanted):
                found[key].append(content)
            return found

        try:
            return self._asked(question, *within, follow=follow) or {}
        except OSError as error:
            logger.warning("part of the registry can't be searched: %s", error)
            return {}

    def _asked(
        self, question: Callable[[Tables, Fingerprints], T], *within: str, follow: Follow
    ) -> T | None:
        """The answer of the index; ``None`` without a usable index."""
        if self._index is None:
            return None
        try:
            return self._index.ask(question, *within, follow=follow)
        except UnusableIndex as error:
            logger.warning("continuing without the index %s: %s", quoted(self._index.path), error)
            self._index = None  # and without it the rest of the request, which remembers more
            return None

    def _unindexable(self, tables: Tables) -> Iterator[tuple[VersionKey, Manifest]]:
        for key in sorted(tables.unindexable()):
            yield key, self._registry.manifest(key)

    def _all(
        self, fingerprints: Fingerprints, follow: Follow
    ) -> Iterator[tuple[VersionKey, Manifest]]:
        for number, key in enumerate(fingerprints):
            follow(number, len(fingerprints))
            try:
                yield key, self._registry.manifest(key)
            except Missing:
                continue  # it was removed meanwhile

    def _all_links(
        self, fingerprints: Fingerprints, follow: Follow
    ) -> Iterator[tuple[VersionKey, set[VersionKey]]]:
        """For each version, the versions that it links to; kept for the next call."""
        for number, (key, fingerprint) in enumerate(fingerprints.items()):
            follow(number, len(fingerprints))
            known = self._links.get(key)
            if known is None or known[0] != fingerprint:
                try:
                    read, data = self._registry.manifest_with_fingerprint(key)
                except Missing:
                    continue  # it was removed meanwhile
                known = read, versions_linked(decode_manifest(data, key.manifest))
                self._links[key] = known
            yield key, known[1]


def _sharing(
    own: Mapping[Content, bool], key: VersionKey, others: Iterable[tuple[VersionKey, Manifest]]
) -> list[Shared]:
    found = (
        shared(own, other, contents_of(manifest)) for other, manifest in others if other != key
    )
    return [each for each in found if each.files]


def dedup_candidates(
    search: Search, registry: Registry, asset: AssetKey, dedup: Dedup, cancel: CancelToken
) -> DedupCandidates | None:
    """The dedup candidates of an upload to ``asset``; ``None`` if there are none."""
    latest = _latest_candidates(registry, asset)
    if dedup is Dedup.LATEST:
        return latest
    places: list[tuple[str, ...]] = [(asset.project, asset.asset)]
    if dedup is Dedup.PROJECT:
        places.append((asset.project,))
    return _IndexedCandidates(latest, registry, search, places, cancel)


def _latest_candidates(registry: Registry, asset: AssetKey) -> VersionCandidates | None:
    latest = registry.latest(asset)
    if latest is None:
        return None
    key = VersionKey(asset.project, asset.asset, latest)
    try:
        return VersionCandidates.of(key, registry.manifest(key))
    except Missing:
        return None  # removed since; this publication corrects the record


@dataclass(frozen=True)
class _IndexedCandidates:
    """The files of the latest version, then those of all final versions in ``places``.

    The index suggests a version for a content; its manifest decides. One manifest is in memory
    at a time.
    """

    latest: VersionCandidates | None
    registry: Registry
    search: Search
    places: Sequence[tuple[str, ...]]
    cancel: CancelToken

    def at_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """See :class:`~gobbler.rules.dedup.DedupCandidates`."""
        return None if self.latest is None else self.latest.at_path(path, size)

    def with_contents(self, contents: Collection[Content]) -> dict[Content, Link]:
        """See :class:`~gobbler.rules.dedup.DedupCandidates`."""
        found = {} if self.latest is None else self.latest.with_contents(contents)
        is_final = self._finality()
        for place in self.places:
            # A link to an empty file saves nothing, and makes its version harder to delete.
            rest = [content for content in contents if content[0] > 0 and content not in found]
            holding = self.search.holding(
                rest, *place, is_wanted=is_final, follow=lambda *_: self.cancel.check()
            )
            for key, wanted in holding.items():
                self.cancel.check()
                found.update(self._of_version(key, wanted))
        return found

    def _of_version(self, key: VersionKey, contents: Collection[Content]) -> dict[Content, Link]:
        try:
            return VersionCandidates.of(key, self.registry.manifest(key)).with_contents(contents)
        except (Missing, Fault):
            return {}

    def _finality(self) -> Callable[[VersionKey], bool]:
        known: dict[VersionKey, bool] = {}

        def is_final(key: VersionKey) -> bool:
            if key not in known:
                try:
                    known[key] = not self.registry.summary(key).on_probation
                except (Missing, Fault):
                    known[key] = False
            return known[key]

        return is_final
