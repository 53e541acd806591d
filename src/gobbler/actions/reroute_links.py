"""``reroute_links``: before something is deleted, links elsewhere are led around it."""

from __future__ import annotations

import os

from gobbler.actions.context import RequestContext
from gobbler.actions.link_impact import LinkImpact, Manifests, link_impact
from gobbler.actions.rerouted_files import copy_files, stage_changes
from gobbler.actions.versions import check_admin
from gobbler.errors import Code, Fault, Missing, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.flush import flush_filesystem, raising_not_durable
from gobbler.index.search import Fingerprints
from gobbler.model.names import VersionKey, check_name
from gobbler.model.requests import DeletionTarget, RerouteLinks
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_registry
from gobbler.registry.registry import Registry

ATTEMPTS = 5

_NOT_FOUND = {
    1: Code.PROJECT_NOT_FOUND,
    2: Code.ASSET_NOT_FOUND,
    3: Code.VERSION_NOT_FOUND,
}


def reroute_links(context: RequestContext, request: RerouteLinks) -> dict[str, object]:
    """Reroute the links into what is to be deleted; ``changes`` of the answer."""
    check_admin(context, "reroute links")
    for doomed in request.to_delete:
        _check_names(doomed)
    registry = context.service.registry
    search, manifests = context.service.search, Manifests(registry)
    for _ in range(ATTEMPTS):
        found = link_impact(
            search,
            manifests,
            lambda fingerprints: _doomed(registry, request, fingerprints),
            context.cancel,
        )
        answer: dict[str, object] = {"changes": found.to_dict()}
        if request.dry_run or not found.changes or _apply(context, found, manifests, answer):
            return answer
        manifests.forget_changed()
    raise Fault(
        f"the registry changed {ATTEMPTS} times while links were being rerouted",
        code=Code.CONTENTION,
        hint="Try again when fewer versions are being published.",
    )


def _check_names(doomed: DeletionTarget) -> None:
    check_name("project", doomed.project)
    if doomed.asset is not None:
        check_name("asset", doomed.asset)
    if doomed.version is not None:
        if doomed.asset is None:
            raise Refused("`version` needs an `asset`, in an entry of `$.to_delete`")
        check_name("version", doomed.version)


def _doomed(
    registry: Registry, request: RerouteLinks, fingerprints: Fingerprints
) -> set[VersionKey]:
    """Those of the versions in ``fingerprints`` that are to be deleted."""
    names = set()
    for entry in request.to_delete:
        parts = [name for name in (entry.project, entry.asset, entry.version) if name]
        if not registry.has(path := "/".join(parts)):
            raise Missing(
                f"{quoted(path)}, which is to be deleted, does not exist",
                code=_NOT_FOUND[len(parts)],
            )
        names.add(tuple(parts))
    return {
        key
        for key in fingerprints
        if (key.project,) in names
        or (key.project, key.asset) in names
        or (key.project, key.asset, key.version) in names
    }


def _apply(
    context: RequestContext, found: LinkImpact, manifests: Manifests, answer: dict[str, object]
) -> bool:
    """Make the changes, unless the registry has changed since they were planned."""
    registry, changes = context.service.registry, found.changes
    with context.new_workspace() as workspace:
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        copy_files(context, workspace, changes)
        journal = Journal(registry, workspace, marked=True)
        usage = stage_changes(registry, journal, changes, manifests)
        journal.prepare(Intent(moves=[], recount=sorted(usage)), answer)
        flush_filesystem(workspace.path, context.service.durability)
        with changing_registry(registry):
            if registry.fingerprints() != found.linking.fingerprints:
                return False
            for number, (project, added) in enumerate(sorted(usage.items())):
                journal.add_usage(f"usage-{number}", project, added)
            journal.commit()
        with raising_not_durable("the change of the links"):
            flush_filesystem(registry.root, context.service.durability)
    return True
