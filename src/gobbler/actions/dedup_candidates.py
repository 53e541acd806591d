"""The published files that an upload may be deduplicated against."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from gobbler.actions.context import RequestContext
from gobbler.errors import Fault, Missing
from gobbler.index import Search
from gobbler.model.names import AssetKey, VersionKey
from gobbler.model.progress import CancelToken
from gobbler.model.records import Link
from gobbler.registry.registry import Registry
from gobbler.rules.dedup import Dedup, DedupCandidates, VersionCandidates
from gobbler.rules.relations import Content


def dedup_candidates(context: RequestContext, asset: AssetKey) -> DedupCandidates | None:
    """Those of an upload to ``asset``, as the site's setting says; ``None`` without any."""
    service = context.service
    latest = _of_latest(service.registry, asset)
    if service.dedup is Dedup.LATEST:
        return latest
    places: list[tuple[str, ...]] = [(asset.project, asset.asset)]
    if service.dedup is Dedup.PROJECT:
        places.append((asset.project,))
    return _TwinsByIndex(latest, service.registry, service.search, places, context.cancel)


def _of_latest(registry: Registry, asset: AssetKey) -> VersionCandidates | None:
    latest = registry.latest(asset)
    if latest is None:
        return None
    key = asset.version(latest)
    try:
        return VersionCandidates.of(key, registry.manifest(key))
    except Missing:
        return None  # removed since; the record is put right by this publication


@dataclass(frozen=True)
class _TwinsByIndex:
    """The files of the latest version, then those of all final versions in ``places``.

    The index tells which version may have a content; its manifest, read then, decides.
    One manifest is kept at a time, however many versions there are.
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
            # Nothing is gained by a link to an empty file, but what holds it is harder to delete.
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
