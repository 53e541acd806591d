"""Removing what is published: out of sight by one rename, then for good.

The rename into the job is the commit point; usage, latest and log follow. What was taken
out is deleted with the job, by whoever discards it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gobbler.errors import GobblerError
from gobbler.model.names import AssetKey, VersionKey, project_usage
from gobbler.model.records import Latest, Usage, encode
from gobbler.registry.journal import Journal
from gobbler.registry.locks import changing_usage
from gobbler.registry.log import publish_log
from gobbler.registry.registry import Registry
from gobbler.registry.usage import count_usage, find_latest
from gobbler.registry.workspace import Intent, Workspace
from gobbler.rules.links import usage_of

REMOVED = "removed"


@dataclass(frozen=True)
class Removal:
    """What goes: ``versions`` in ``path`` (of an asset or a version) of a project.

    ``force``: what can't be read is no obstacle. ``relatest``: the asset whose latest
    version must be found anew without ``versions``.
    """

    project: str
    path: str
    versions: list[VersionKey]
    force: bool
    relatest: AssetKey | None = None

    def of(self, versions: list[VersionKey]) -> Removal:
        """The same, of other versions."""
        return replace(self, versions=versions)


def start(registry: Registry, workspace: Workspace, removal: Removal) -> Journal:
    """Write down what recovery must know; the caller flushes it before :func:`finish`."""
    journal = Journal(registry, workspace, marked=False)
    journal.take_out(removal.path, REMOVED)
    asset = removal.relatest
    journal.record(
        Intent(
            moves=[],
            project=removal.project,
            asset=asset.asset if asset is not None else "",
            recount=[removal.project],
            latest=asset is not None,
        )
    )
    return journal


def finish(registry: Registry, workspace: Workspace, removal: Removal, journal: Journal) -> None:
    """Do it. The caller holds the lock of what contains ``removal.path``."""
    if removal.relatest is not None:
        _relatest(registry, removal, removal.relatest, journal)
    with changing_usage(registry, removal.project):
        total = _usage_without(registry, removal)
        if total is not None:
            journal.write("usage", encode(Usage(total)), project_usage(removal.project))
        journal.commit(then=lambda: publish_log(registry, workspace))


def _relatest(registry: Registry, removal: Removal, asset: AssetKey, journal: Journal) -> None:
    gone = {key.version for key in removal.versions}
    try:
        present = registry.latest(asset)
    except GobblerError:
        if not removal.force:
            raise
        present = removal.versions[0].version
    if present is not None and present not in gone:
        return
    try:
        best = find_latest(registry, asset, without=removal.versions[0])
    except GobblerError:
        if not removal.force:
            raise
        best = None  # better none than one that is gone
    if best is not None:
        journal.write("latest", encode(Latest(best.version)), asset.latest)
    elif present is not None:
        journal.take_out(asset.latest, "former-latest")


def _usage_without(registry: Registry, removal: Removal) -> int | None:
    """The project's usage afterwards; ``None`` if it can't be told and need not be.

    It is counted anew where a manifest is missing: nobody knows what that version counted.
    """
    try:
        if all(registry.has(key.manifest) for key in removal.versions):
            freed = sum(usage_of(registry.manifest(key)) for key in removal.versions)
            return max(0, registry.usage(removal.project).total - freed)
    except GobblerError:
        if not removal.force:
            raise
    try:
        return count_usage(registry, removal.project, without=set(removal.versions))
    except GobblerError:
        if not removal.force:
            raise
        return None
