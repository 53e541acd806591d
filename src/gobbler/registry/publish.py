"""Publish a finished tree, and remove published ones: the steps that hold locks.

Both have one commit, a rename between the workspace and the registry. Publishing renames the
finished tree into place; removing renames a version, an asset or a project into the workspace,
with which its files are deleted. Usage, latest version and log follow. "Write order of a
publication" in docs/format.md lists the steps, and what a crash leaves after each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from gobbler.errors import Fault, GobblerError, Missing, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE, write_new
from gobbler.fs.flush import Durability, flush_tree, raising_not_durable
from gobbler.fs.open import exists
from gobbler.fs.os_errors import with_path
from gobbler.fs.removal import remove_tree
from gobbler.model.names import LATEST, PERMISSIONS, SUMMARY, AssetKey, VersionKey, project_usage
from gobbler.model.progress import NoProgress, Phase, Progress, tell_phase
from gobbler.model.records import Latest, Permissions, Summary, Usage, encode
from gobbler.registry.discarded import Freed
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import adding_asset, changing_asset, changing_usage
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.registry import Registry
from gobbler.registry.usage import count_usage, find_latest, present_latest
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import usage_of


@dataclass(frozen=True)
class Publication:
    """A finished tree, and how to publish it.

    ``usage``: bytes that it adds. ``owner``: permissions of a new asset. ``check``: called under
    the locks, right before the commit; an error prevents the commit. ``source``: the directory
    in ``staging`` that it was read from; ``adopted``: files of it may be hard-linked from there.
    ``progress`` hears of the phases.
    """

    key: VersionKey
    summary: Summary
    usage: int
    owner: Permissions | None
    check: Callable[[], None]
    staging: str = ""
    source: str = ""
    adopted: bool = False
    progress: Progress = field(default_factory=NoProgress)

    def intent(self) -> Intent:
        """The facts that recovery needs besides the renames."""
        return Intent(
            moves=[],
            project=self.key.project,
            asset=self.key.asset,
            version=self.key.version,
            recount=[self.key.project],
            latest=not self.summary.on_probation,
            staging=self.staging,
            source=self.source,
            adopted=self.adopted,
        )


def publish(
    registry: Registry, durability: Durability, workspace: Workspace, publication: Publication
) -> None:
    """Publish the version; when this returns, it is on disk as a whole."""
    while (journal := _try_to_publish(registry, durability, workspace, publication)) is None:
        continue
    key = publication.key
    try:
        with raising_not_durable(f"version {quoted(key.path)}"):
            # The commit has set the time of the summary, and written the latest of a new asset.
            journal.flush(durability, key.summary, key.of_asset.latest)
    except Fault:
        workspace.keep = True  # recovery flushes again, and detaches files of the source
        raise


def _try_to_publish(
    registry: Registry, durability: Durability, workspace: Workspace, publication: Publication
) -> Journal | None:
    """Publish the version in its asset, or together with a new asset; the journal that did it.

    ``None`` if the asset was created or removed meanwhile: the caller tries again.
    """
    key = publication.key
    in_asset = registry.has(key.of_asset.path)
    if in_asset and not publication.summary.on_probation:
        with suppress(GobblerError, OSError):
            present_latest(registry, key.of_asset)  # for its warnings
    _arrange(workspace, publication, in_asset=in_asset)
    journal = Journal(registry, workspace, marked=False)
    if in_asset:
        journal.add("tree", key.path)
    else:
        journal.add("asset", key.of_asset.path)
    journal.prepare(publication.intent())
    if not publication.summary.on_probation:
        prepare_log(workspace, version_entry("add-version", key, latest=True))
    tell_phase(publication.progress, Phase.FLUSH)
    flush_tree(workspace.path, durability)
    tell_phase(publication.progress, Phase.PUBLISH)
    try:
        with _locks(registry, key, in_asset=in_asset):
            if registry.has(key.of_asset.path) != in_asset:
                return None
            publication.check()
            _commit(registry, workspace, publication, journal, in_asset=in_asset)
    except Missing:
        if in_asset and registry.has(key.project) and not registry.has(key.of_asset.path):
            return None  # the asset was removed at this moment
        raise
    return journal


def _arrange(workspace: Workspace, publication: Publication, *, in_asset: bool) -> None:
    """Build a new asset around the version, or take the version out of it again."""
    # No intent may exist while files move between these places: it would not match them.
    if exists(workspace.intent):
        os.unlink(workspace.intent)
    asset = f"{workspace.path}/asset"
    inside = f"{asset}/{publication.key.version}"
    if in_asset and exists(asset):
        os.rename(inside, workspace.tree)
        remove_tree(asset)
    elif not in_asset and not exists(asset):
        # One rename shows both the asset and its version.
        os.mkdir(asset, DIRECTORY_MODE)
        if publication.owner is not None:
            write_new(f"{asset}/{PERMISSIONS}", encode(publication.owner))
        os.rename(workspace.tree, inside)


@contextmanager
def _locks(registry: Registry, key: VersionKey, *, in_asset: bool) -> Iterator[None]:
    guard = (
        changing_asset(registry, key.of_asset) if in_asset else adding_asset(registry, key.project)
    )
    with guard:
        yield


def _commit(
    registry: Registry,
    workspace: Workspace,
    publication: Publication,
    journal: Journal,
    *,
    in_asset: bool,
) -> None:
    key = publication.key
    tree = workspace.tree if in_asset else f"{workspace.path}/asset/{key.version}"
    if not publication.summary.on_probation:
        _set_publication_time(f"{tree}/{SUMMARY}")
        latest = encode(Latest(key.version))
        if in_asset:
            journal.write("latest", latest, key.of_asset.latest)
        else:
            write_new(f"{workspace.path}/asset/{LATEST}", latest)
    # The lock of the usage is held around the rename: a process that counts the usage again sees
    # both changes or neither.
    with changing_usage(registry, key.project):
        journal.add_usage("usage", key.project, publication.usage)
        journal.commit(log=lambda: publish_log(registry, workspace))


def _set_publication_time(summary: str) -> None:
    """Set the time of publication on the summary: it orders versions of the same second."""
    published = time.time_ns()
    with with_path(summary):
        os.utime(summary, ns=(published, published))


REMOVED = "removed"


@dataclass(frozen=True)
class Removal:
    """A removal: the ``versions`` in ``path`` (of a project, an asset or a version).

    ``force``: ignore records that can't be read. ``latest_of``: the asset whose latest version must
    be recomputed, without ``versions``.
    """

    project: str
    path: str
    versions: list[VersionKey]
    force: bool
    latest_of: AssetKey | None = None

    def of(self, versions: list[VersionKey]) -> Removal:
        """The same removal, of other versions."""
        return replace(self, versions=versions)


def prepare_removal(registry: Registry, workspace: Workspace, removal: Removal) -> Journal:
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


def commit_removal(
    registry: Registry, workspace: Workspace, removal: Removal, journal: Journal
) -> None:
    """Commit the removal. The caller holds the lock of what contains ``removal.path``.

    Its files are removed after the end of the workspace.
    """
    if removal.latest_of is not None:
        _change_latest(registry, removal, removal.latest_of, journal)
    with changing_usage(registry, removal.project):
        total = _usage_without(registry, removal)
        if total is not None:
            with suppress(GobblerError):
                former = registry.usage(removal.project).total
                workspace.freed = Freed(removal.project, max(0, former - total))
            journal.write("usage", encode(Usage(total)), project_usage(removal.project))
        journal.commit(log=lambda: publish_log(registry, workspace))


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
    # Damage of another version is no reason to keep this one.
    try:
        best = find_latest(registry, asset, without=removal.versions[0], skip_damaged=True)
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

    If one of the manifests is unreadable, counts all versions.
    """
    try:
        if all(registry.has_record(key.manifest) for key in removal.versions):
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
