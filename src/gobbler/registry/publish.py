"""Publishing a version that was built: the moment that locks are held for.

The write order, and what a crash leaves after each step, is told in docs/format.md.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gobbler.errors import Fault, Missing, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE, write_new
from gobbler.fs.flush import Durability, flush_filesystem, raising_not_durable
from gobbler.fs.open import exists
from gobbler.fs.os_errors import with_path
from gobbler.model.names import LATEST, PERMISSIONS, SUMMARY, VersionKey
from gobbler.model.records import Latest, Permissions, Summary, encode
from gobbler.registry.journal import Journal
from gobbler.registry.locks import adding_asset, changing_asset, changing_usage
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.registry import Registry
from gobbler.registry.usage import becomes_latest, finish_order
from gobbler.registry.workspace import Intent, Workspace


@dataclass(frozen=True)
class Publication:
    """A finished tree and what is to become of it.

    ``usage``: bytes that it adds. ``owner``: permissions that come with a new asset.
    ``check``: called under the locks, right before the commit; raises to prevent it.
    ``source``: the directory in ``staging`` that it was read from; ``adopted``: files of it may
    be hard-linked from there.
    """

    key: VersionKey
    summary: Summary
    usage: int
    owner: Permissions | None
    check: Callable[[], None]
    staging: str = ""
    source: str = ""
    adopted: bool = False

    def intent(self) -> Intent:
        """What recovery must know besides the renames."""
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
    """Make the version appear. It is on disk, whole, when this returns."""
    while not _try_to_publish(registry, durability, workspace, publication):
        continue
    try:
        with raising_not_durable(f"version {quoted(publication.key.path)}"):
            flush_filesystem(registry.root, durability)
    except Fault:
        workspace.unfinished = True  # the next sweep flushes again, and cuts off what was adopted
        raise


def _try_to_publish(
    registry: Registry, durability: Durability, workspace: Workspace, publication: Publication
) -> bool:
    """Publish as a version of its asset, or with it; whether the asset was as expected."""
    key = publication.key
    alone = registry.has(key.of_asset.path)
    _arrange(workspace, publication, alone=alone)
    journal = Journal(registry, workspace, marked=False)
    if alone:
        journal.bring_new("tree", key.path)
    else:
        journal.bring_new("asset", key.of_asset.path)
    journal.record(publication.intent())
    if not publication.summary.on_probation:
        # Most often right; it is written again under the locks where it is not.
        prepare_log(workspace, version_entry("add-version", key, latest=True))
    flush_filesystem(workspace.path, durability)
    try:
        with _locks(registry, key, alone=alone):
            if registry.has(key.of_asset.path) != alone:
                return False
            publication.check()
            _commit(registry, workspace, publication, journal, alone=alone)
    except Missing:
        if alone and registry.has(key.project) and not registry.has(key.of_asset.path):
            return False  # the asset went at that moment
        raise
    return True


def _arrange(workspace: Workspace, publication: Publication, *, alone: bool) -> None:
    """Put the version into an asset of its own, or take it out, as it is to be renamed."""
    # What moves now is told by no intent: there must be none while it does.
    if exists(workspace.intent):
        os.unlink(workspace.intent)
    asset = f"{workspace.path}/asset"
    inside = f"{asset}/{publication.key.version}"
    if alone and exists(asset):
        os.rename(inside, workspace.tree)
        shutil.rmtree(asset)
    elif not alone and not exists(asset):
        # The asset is built around the version, so that the one rename shows both.
        os.mkdir(asset, DIRECTORY_MODE)
        if publication.owner is not None:
            write_new(f"{asset}/{PERMISSIONS}", encode(publication.owner))
        os.rename(workspace.tree, inside)


@contextmanager
def _locks(registry: Registry, key: VersionKey, *, alone: bool) -> Iterator[None]:
    guard = changing_asset(registry, key.of_asset) if alone else adding_asset(registry, key.project)
    with guard:
        yield


def _commit(
    registry: Registry,
    workspace: Workspace,
    publication: Publication,
    journal: Journal,
    *,
    alone: bool,
) -> None:
    key = publication.key
    tree = workspace.tree if alone else f"{workspace.path}/asset/{key.version}"
    latest = _stamp(registry, publication, f"{tree}/{SUMMARY}")
    if latest and alone:
        journal.write("latest", encode(Latest(key.version)), key.of_asset.latest)
    elif latest:
        write_new(f"{workspace.path}/asset/{LATEST}", encode(Latest(key.version)))
    elif not publication.summary.on_probation:
        prepare_log(workspace, version_entry("add-version", key, latest=False), flush=True)
    # Usage is locked around the rename, so that whoever counts it anew sees either none
    # or both of the two changes.
    with changing_usage(registry, key.project):
        journal.add_usage("usage", key.project, publication.usage)
        journal.commit(then=lambda: publish_log(registry, workspace))


def _stamp(registry: Registry, publication: Publication, summary: str) -> bool:
    """Note the time of publication on the summary; whether the version is the latest."""
    if publication.summary.on_probation:
        return False
    published = time.time_ns()
    with with_path(summary):
        os.utime(summary, ns=(published, published))
    finish = finish_order(publication.summary, published)
    return becomes_latest(registry, publication.key, finish)
