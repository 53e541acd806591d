"""The published files that an upload may be deduplicated against."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from gobbler.actions.site import Call
from gobbler.errors import Fault, Missing
from gobbler.index import Search
from gobbler.names import AssetKey, VersionKey
from gobbler.records import Link
from gobbler.registry import Registry
from gobbler.rules.dedup import Dedup, Twins, TwinsOfVersion
from gobbler.rules.relations import Content


def twins_for(call: Call, asset: AssetKey) -> Twins | None:
    """Those of an upload to ``asset``, as the site's setting says; ``None`` without any."""
    site = call.site
    latest = _of_latest(site.registry, asset)
    if site.dedup is Dedup.LATEST:
        return latest
    places: list[tuple[str, ...]] = [(asset.project, asset.asset)]
    if site.dedup is Dedup.PROJECT:
        places.append((asset.project,))
    return _TwinsByIndex(latest, site.registry, site.search, places, call.watcher.check)


def _of_latest(registry: Registry, asset: AssetKey) -> TwinsOfVersion | None:
    latest = registry.latest(asset)
    if latest is None:
        return None
    key = asset.version(latest)
    try:
        return TwinsOfVersion.of(key, registry.manifest(key))
    except Missing:
        return None  # removed since; the record is put right by this publication


@dataclass(frozen=True)
class _TwinsByIndex:
    """The files of the latest version, then those of all final versions in ``places``.

    The index tells which version may have a content; its manifest, read then, decides.
    One manifest is kept at a time, however many versions there are.
    """

    latest: TwinsOfVersion | None
    registry: Registry
    search: Search
    places: Sequence[tuple[str, ...]]
    check: Callable[[], None]

    def same_path(self, path: str, size: int) -> tuple[str, Link] | None:
        """See :class:`~gobbler.rules.dedup.Twins`."""
        return None if self.latest is None else self.latest.same_path(path, size)

    def nominees(self, contents: Collection[Content]) -> dict[Content, Link]:
        """See :class:`~gobbler.rules.dedup.Twins`."""
        found = {} if self.latest is None else self.latest.nominees(contents)
        is_final = self._finality()
        for place in self.places:
            # Nothing is gained by a link to an empty file, but what holds it is harder to delete.
            rest = [content for content in contents if content[0] > 0 and content not in found]
            holding = self.search.holding(
                rest, *place, is_wanted=is_final, follow=lambda *_: self.check()
            )
            for key, wanted in holding.items():
                self.check()
                found.update(self._of_version(key, wanted))
        return found

    def _of_version(self, key: VersionKey, contents: Collection[Content]) -> dict[Content, Link]:
        try:
            return TwinsOfVersion.of(key, self.registry.manifest(key)).nominees(contents)
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
