"""Searching the registry: by the index, or without it by reading all manifests.

The answers are the same, and so is what is said of damaged manifests.
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
from gobbler.model.records import Link, Manifest
from gobbler.registry.foreign import report_skipped
from gobbler.registry.links_on_disk import versions_linked_on_disk
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import (
    CandidatesWithout,
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
    """The versions outside of ``chosen`` with links into it, in the state ``fingerprints``.

    Where the manifest of one is damaged, reading it raises.
    """

    fingerprints: Fingerprints
    chosen: frozenset[VersionKey]
    sources: list[VersionKey]


class Search:
    """Searches of one request in ``registry``, by the ``index`` if there is one.

    A damaged manifest ends no search. What its version links to is found on disk instead; its
    contents are unknown. ``problems`` has the reason of each damaged manifest by version, until
    it is read again.
    """

    def __init__(self, registry: Registry, index: Index | None) -> None:
        self._registry = registry
        self._index = index
        self.problems: dict[VersionKey, str] = {}
        self._links: dict[VersionKey, tuple[Fingerprint, set[VersionKey]]] = {}

    def linking_into(self, choose: Choose, follow: Follow) -> LinkingVersions:
        """The versions with a link whose parent or ancestor is in a chosen version."""

        def question(tables: Tables, fingerprints: Fingerprints) -> LinkingVersions:
            chosen = frozenset(choose(fingerprints))
            sources = tables.linking_into(chosen)
            for key in tables.unindexable():
                if key not in chosen and self._versions_linked(key) & chosen:
                    sources.add(key)
            return LinkingVersions(fingerprints, chosen, sorted(sources - chosen))

        found = self._asked(question, follow=follow)
        if found is not None:
            return found
        fingerprints = self._registry.fingerprints()
        chosen = frozenset(choose(fingerprints))
        others = {key: value for key, value in fingerprints.items() if key not in chosen}
        sources = [key for key, links in self._all_links(others, follow) if links & chosen]
        return LinkingVersions(fingerprints, chosen, sources)

    def shared_with(self, key: VersionKey, follow: Follow) -> list[Shared]:
        """The other versions with contents of the version ``key``, in order.

        Raises :class:`~gobbler.errors.Missing` if there is no such version.
        """
        own = contents_of(self._registry.manifest(key))

        def question(tables: Tables, fingerprints: Fingerprints) -> list[Shared] | None:
            del fingerprints
            odd = sorted(tables.unindexable())
            if key in odd:
                return None  # its own contents are unknown
            return tables.shared_with(key) + _sharing(own, key, self._manifests(odd))

        found = self._asked(question, follow=follow)
        if found is None:
            everything = _followed(self._registry.fingerprints(), follow)
            found = _sharing(own, key, self._manifests(everything))
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

    def _manifests(self, keys: Iterable[VersionKey]) -> Iterator[tuple[VersionKey, Manifest]]:
        """The manifests of the versions ``keys`` that can be read."""
        for key in keys:
            try:
                yield key, self._registry.manifest(key)
            except Missing:
                continue  # it was removed meanwhile
            except Fault as error:
                self._note(key, error)

    def _versions_linked(self, key: VersionKey) -> set[VersionKey]:
        """The versions that a version links to; by its links on disk if its manifest is damaged."""
        try:
            found = versions_linked(self._registry.manifest(key))
        except Missing:
            return set()  # it was removed meanwhile
        except Fault as error:
            self._note(key, error)
            return versions_linked_on_disk(self._registry, key)
        self.problems.pop(key, None)
        return found

    def _note(self, key: VersionKey, error: Fault) -> None:
        self.problems[key] = error.message
        report_skipped(self._registry.path(key.path), error.reason)

    def _all_links(
        self, fingerprints: Fingerprints, follow: Follow
    ) -> Iterator[tuple[VersionKey, set[VersionKey]]]:
        """For each version, the versions that it links to; kept for the next call."""
        for key in _followed(fingerprints, follow):
            known = self._links.get(key)
            if known is None or known[0] != fingerprints[key]:
                known = fingerprints[key], self._versions_linked(key)
                self._links[key] = known
            yield key, known[1]


def _followed(fingerprints: Fingerprints, follow: Follow) -> Iterator[VersionKey]:
    for number, key in enumerate(fingerprints):
        follow(number, len(fingerprints))
        yield key


def _sharing(
    own: Mapping[Content, bool], key: VersionKey, others: Iterable[tuple[VersionKey, Manifest]]
) -> list[Shared]:
    found = (
        shared(own, other, contents_of(manifest)) for other, manifest in others if other != key
    )
    return [each for each in found if each.files]


def dedup_candidates(
    search: Search,
    registry: Registry,
    asset: AssetKey,
    dedup: Dedup,
    cancel: CancelToken,
    *,
    without: Collection[VersionKey] = (),
) -> DedupCandidates | None:
    """The dedup candidates of an upload to ``asset``; ``None`` if there are none.

    No link of theirs leads to a version in ``without``.
    """
    candidates: DedupCandidates | None = _latest_candidates(registry, asset)
    if dedup is not Dedup.LATEST:
        places: list[tuple[str, ...]] = [(asset.project, asset.asset)]
        if dedup is Dedup.PROJECT:
            places.append((asset.project,))
        candidates = _IndexedCandidates(candidates, registry, search, places, cancel)
    if candidates is None or not without:
        return candidates
    return CandidatesWithout(candidates, without)


def _latest_candidates(registry: Registry, asset: AssetKey) -> VersionCandidates | None:
    try:
        latest = registry.latest(asset)
        if latest is None:
            return None
        key = VersionKey(asset.project, asset.asset, latest)
        return VersionCandidates.of(key, registry.manifest(key))
    except Missing:
        return None  # removed since; this publication corrects the record
    except Fault as error:
        # Deduplication is optional: damage of an older version is in nobody's way.
        logger.warning("not deduplicating against the latest version of %s: %s", asset, error)
        return None


@dataclass(frozen=True)
class _IndexedCandidates:
    """The files of the latest version, then those of all final versions in ``places``.

    The index suggests a version for a content; its manifest decides. One manifest is in memory
    at a time.
    """

    latest: DedupCandidates | None
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
