"""The links that are affected when something is deleted, and what would become of each."""

from __future__ import annotations

from dataclasses import dataclass

from gobbler.fs.fingerprint import Fingerprint
from gobbler.index.search import Choose, Linking, Search
from gobbler.model.names import VersionKey
from gobbler.model.progress import CancelToken
from gobbler.model.records import Manifest, decode_manifest
from gobbler.registry.registry import Registry
from gobbler.rules.reroute import Change, Rerouting


class Manifests:
    """The manifests of a registry, each read once as long as it does not change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[VersionKey, tuple[Fingerprint, Manifest]] = {}

    def __call__(self, key: VersionKey) -> Manifest:
        """The manifest of the version ``key``."""
        known = self._read.get(key)
        if known is None:
            fingerprint, data = self._registry.manifest_with_fingerprint(key)
            known = self._read[key] = fingerprint, decode_manifest(data, key.manifest)
        return known[1]

    def forget_changed(self) -> None:
        """Forget those that are not as they were read."""
        self._read = {
            key: known
            for key, known in self._read.items()
            if self._registry.fingerprint(key.manifest) == known[0]
        }


@dataclass(frozen=True)
class LinkImpact:
    """What becomes of links, as of the state of the registry that ``linking`` tells."""

    linking: Linking
    changes: list[Change]

    def to_dict(self) -> list[dict[str, object]]:
        """The changes as answers tell them, in the order of their paths."""
        told = [change.to_dict() for change in self.changes]
        return sorted(told, key=lambda change: str(change["path"]))


def link_impact(
    search: Search, manifests: Manifests, choose: Choose, cancel: CancelToken
) -> LinkImpact:
    """The links that name a file of what is chosen, as their parent or as their ancestor.

    Raises :class:`~gobbler.errors.Fault` where a manifest is damaged.
    """
    linking = search.linking_into(choose, lambda *_: cancel.check())
    rerouting = Rerouting(linking.doomed, manifests)
    changes: list[Change] = []
    for key in linking.sources:
        cancel.check()
        changes += rerouting.changes(key)
    return LinkImpact(linking, changes)
