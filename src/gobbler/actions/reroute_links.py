"""``reroute_links``: before something is deleted, links elsewhere are led around it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gobbler.actions.guards import changing_registry
from gobbler.actions.journal import Journal
from gobbler.actions.rerouted_files import copy_files, stage_changes
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin
from gobbler.disk.flushing import already_made, flush_filesystem
from gobbler.disk.intents import Intent
from gobbler.disk.writing import DIRECTORY_MODE
from gobbler.errors import Fault, Missing, Refused, quoted
from gobbler.names import AssetKey, VersionKey, check_name
from gobbler.records import Manifest
from gobbler.registry import Registry, Stamp
from gobbler.requests import Doomed, RerouteLinks
from gobbler.rules.rerouting import Change, Rerouting

ATTEMPTS = 5


class _Manifests:
    """The manifests of a registry, each read once as long as it does not change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[VersionKey, tuple[Stamp, Manifest]] = {}

    def __call__(self, key: VersionKey) -> Manifest:
        known = self._read.get(key)
        if known is None:
            known = self._read[key] = self.stamp(key), self._registry.manifest(key)
        return known[1]

    def stamp(self, key: VersionKey) -> Stamp:
        """What tells one state of a manifest from another."""
        return self._registry.stamp(key.manifest)

    def forget_changed(self) -> None:
        """Forget those that are not as they were read."""
        self._read = {
            key: known for key, known in self._read.items() if self.stamp(key) == known[0]
        }

    def is_current(self, keys: list[VersionKey]) -> bool:
        """Whether ``keys`` are all that was read, and none of them has changed."""
        return set(keys) == set(self._read) and all(
            self.stamp(key) == known[0] for key, known in self._read.items()
        )


def reroute_links(call: Call, request: RerouteLinks) -> dict[str, object]:
    """Reroute the links into what is to be deleted; ``changes`` of the answer."""
    check_admin(call, "reroute links")
    for doomed in request.to_delete:
        _check_names(doomed)
    manifests = _Manifests(call.site.registry)
    for _ in range(ATTEMPTS):
        changes = _plan(call, request, manifests)
        answer = _answer(changes)
        if request.dry_run or not changes or _apply(call, changes, manifests, answer):
            return answer
        manifests.forget_changed()
    raise Fault(
        f"the registry changed {ATTEMPTS} times while links were being rerouted",
        hint="Try again when fewer versions are being published.",
    )


def _answer(changes: list[Change]) -> dict[str, object]:
    told = [change.told() for change in changes]
    return {"changes": sorted(told, key=lambda change: str(change["path"]))}


def _check_names(doomed: Doomed) -> None:
    check_name("project", doomed.project)
    if doomed.asset is not None:
        check_name("asset", doomed.asset)
    if doomed.version is not None:
        if doomed.asset is None:
            raise Refused("`version` needs an `asset`, in an entry of `$.to_delete`")
        check_name("version", doomed.version)


def _plan(call: Call, request: RerouteLinks, manifests: _Manifests) -> list[Change]:
    registry = call.site.registry
    doomed = {key for entry in request.to_delete for key in _versions(registry, entry)}
    rerouting = Rerouting(doomed, manifests)
    changes: list[Change] = []
    for key in _all_versions(registry):
        call.watcher.check()
        if key in doomed:
            manifests(key)  # so that all versions are known when they are looked at again
        else:
            changes += rerouting.changes(key)
    return changes


def _versions(registry: Registry, doomed: Doomed) -> Iterator[VersionKey]:
    path = "/".join(name for name in (doomed.project, doomed.asset, doomed.version) if name)
    if not registry.has(path):
        raise Missing(f"{quoted(path)}, which is to be deleted, does not exist")
    if doomed.asset is None:
        assets = registry.assets(doomed.project)
    else:
        assets = iter([AssetKey(doomed.project, doomed.asset)])
    for asset in assets:
        for key in _of_asset(registry, asset):
            if doomed.version in (None, key.version):
                yield key


def _all_versions(registry: Registry) -> Iterator[VersionKey]:
    for project in registry.projects():
        for asset in registry.assets(project):
            yield from _of_asset(registry, asset)


def _of_asset(registry: Registry, asset: AssetKey) -> Iterator[VersionKey]:
    # A directory without a manifest is no version: another service may have left it.
    return (key for key in registry.versions(asset) if registry.has(key.manifest))


def _apply(
    call: Call, changes: list[Change], manifests: _Manifests, answer: dict[str, object]
) -> bool:
    """Make the changes, unless the registry has changed since they were planned."""
    registry = call.site.registry
    with call.new_job() as job:
        os.mkdir(job.tree, DIRECTORY_MODE)
        copy_files(call, job, changes)
        journal = Journal(registry, job, marked=True)
        usage = stage_changes(registry, journal, changes, manifests)
        journal.record(Intent(moves=[], recount=sorted(usage)), answer)
        flush_filesystem(job.path, call.site.durability)
        with changing_registry(registry):
            if not manifests.is_current(list(_all_versions(registry))):
                return False
            for number, (project, added) in enumerate(sorted(usage.items())):
                journal.add_usage(f"usage-{number}", project, added)
            journal.commit()
        with already_made("the change of the links"):
            flush_filesystem(registry.root, call.site.durability)
    return True
