"""``reroute_links``: before something is deleted, links elsewhere are led around it."""

from __future__ import annotations

import os

from gobbler.actions.affected import Affected, Manifests, affected_links
from gobbler.actions.guards import changing_registry
from gobbler.actions.journal import Journal
from gobbler.actions.rerouted_files import copy_files, stage_changes
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin
from gobbler.disk.flushing import already_made, flush_filesystem
from gobbler.disk.intents import Intent
from gobbler.disk.writing import DIRECTORY_MODE
from gobbler.errors import Fault, Missing, Refused, quoted
from gobbler.index.searching import Stamps
from gobbler.names import VersionKey, check_name
from gobbler.registry import Registry
from gobbler.requests import Doomed, RerouteLinks

ATTEMPTS = 5


def reroute_links(call: Call, request: RerouteLinks) -> dict[str, object]:
    """Reroute the links into what is to be deleted; ``changes`` of the answer."""
    check_admin(call, "reroute links")
    for doomed in request.to_delete:
        _check_names(doomed)
    registry = call.site.registry
    search, manifests = call.site.search, Manifests(registry)
    for _ in range(ATTEMPTS):
        found = affected_links(
            search, manifests, lambda stamps: _doomed(registry, request, stamps), call.watcher.check
        )
        answer: dict[str, object] = {"changes": found.told()}
        if request.dry_run or not found.changes or _apply(call, found, manifests, answer):
            return answer
        manifests.forget_changed()
    raise Fault(
        f"the registry changed {ATTEMPTS} times while links were being rerouted",
        hint="Try again when fewer versions are being published.",
    )


def _check_names(doomed: Doomed) -> None:
    check_name("project", doomed.project)
    if doomed.asset is not None:
        check_name("asset", doomed.asset)
    if doomed.version is not None:
        if doomed.asset is None:
            raise Refused("`version` needs an `asset`, in an entry of `$.to_delete`")
        check_name("version", doomed.version)


def _doomed(registry: Registry, request: RerouteLinks, stamps: Stamps) -> set[VersionKey]:
    """Those of the versions in ``stamps`` that are to be deleted."""
    names = set()
    for entry in request.to_delete:
        parts = [name for name in (entry.project, entry.asset, entry.version) if name]
        if not registry.has(path := "/".join(parts)):
            raise Missing(f"{quoted(path)}, which is to be deleted, does not exist")
        names.add(tuple(parts))
    return {
        key
        for key in stamps
        if (key.project,) in names
        or (key.project, key.asset) in names
        or (key.project, key.asset, key.version) in names
    }


def _apply(call: Call, found: Affected, manifests: Manifests, answer: dict[str, object]) -> bool:
    """Make the changes, unless the registry has changed since they were planned."""
    registry, changes = call.site.registry, found.changes
    with call.new_job() as job:
        os.mkdir(job.tree, DIRECTORY_MODE)
        copy_files(call, job, changes)
        journal = Journal(registry, job, marked=True)
        usage = stage_changes(registry, journal, changes, manifests)
        journal.record(Intent(moves=[], recount=sorted(usage)), answer)
        flush_filesystem(job.path, call.site.durability)
        with changing_registry(registry):
            if registry.stamps() != found.linking.stamps:
                return False
            for number, (project, added) in enumerate(sorted(usage.items())):
                journal.add_usage(f"usage-{number}", project, added)
            journal.commit()
        with already_made("the change of the links"):
            flush_filesystem(registry.root, call.site.durability)
    return True
