"""Remove a version, an asset or a project: first from the registry, then from the disk.

The rename into the workspace is the commit; usage, latest version and log follow. The files are
deleted with the workspace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gobbler.errors import GobblerError
from gobbler.model.names import AssetKey, VersionKey, project_usage
from gobbler.model.records import Latest, Usage, encode
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_usage
from gobbler.registry.log import publish_log
from gobbler.registry.registry import Registry
from gobbler.registry.usage import count_usage, find_latest
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import usage_of

REMOVED = "removed"


@dataclass(frozen=True)
class Removal:
    """What to remove: the ``versions`` in ``path`` (of an asset or a version) of a project.

    ``force``: remove also what can't be read. ``latest_of``: the asset whose latest version must
    be found again, without ``versions``.
    """

    project: str
    path: str
    versions: list[VersionKey]
    force: bool
    latest_of: AssetKey | None = None

    def of(self, versions: list[VersionKey]) -> Removal:
        """The same removal, of other versions."""
        return replace(self, versions=versions)


def prepare(registry: Registry, workspace: Workspace, removal: Removal) -> Journal:
    """Write the intent; the caller flushes it before :func:`commit`."""
    journal = Journal(registry, workspace, marked=False)
    journal.remove(removal.path, REMOVED)
    asset = removal.latest_of
    journal.prepare(
        Intent(
            moves=[],
            project=removal.project,
            asset=asset.asset if asset is not None else "",
            recount=[removal.project],
            latest=asset is not None,
        )
    )
    return journal


def commit(registry: Registry, workspace: Workspace, removal: Removal, journal: Journal) -> None:
    """Commit the removal. The caller holds the lock of what contains ``removal.path``."""
    if removal.latest_of is not None:
        _change_latest(registry, removal, removal.latest_of, journal)
    with changing_usage(registry, removal.project):
        total = _usage_without(registry, removal)
        if total is not None:
            journal.write("usage", encode(Usage(total)), project_usage(removal.project))
        journal.commit(then=lambda: publish_log(registry, workspace))


def _change_latest(registry: Registry, removal: Removal, asset: AssetKey, journal: Journal) -> None:
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
        best = None  # rather no latest version than a removed one
    if best is not None:
        journal.write("latest", encode(Latest(best.version)), asset.latest)
    elif present is not None:
        journal.remove(asset.latest, "former-latest")


def _usage_without(registry: Registry, removal: Removal) -> int | None:
    """The project's usage after the removal; ``None`` with ``force`` if that can't be found out.

    Without one of the manifests, all versions are counted again.
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
