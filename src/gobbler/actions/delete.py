"""``delete_project``, ``delete_asset``, ``delete_version``: for administrators.

If the target does not exist, the request succeeds.
"""

from __future__ import annotations

from contextlib import suppress

from gobbler.actions.context import RequestContext, check_admin
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.fs.flush import flush_tree, raising_not_durable
from gobbler.model.names import AssetKey, VersionKey, check_name
from gobbler.model.records import LogEntry
from gobbler.model.requests import DeleteAsset, DeleteProject, DeleteVersion
from gobbler.registry.discarded import Freed
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_asset, changing_project, changing_registry
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.publish import REMOVED, Removal, commit_removal, prepare_removal
from gobbler.registry.workspace import Workspace


def delete_project(context: RequestContext, request: DeleteProject) -> dict[str, object]:
    """Remove a project; the answer has no fields of its own."""
    project = check_name("project", request.project)
    check_admin(context, "delete a project")
    registry = context.service.registry
    if not registry.has(project):
        return {}
    with context.new_workspace() as workspace:
        journal = Journal(registry, workspace, marked=False)
        journal.remove(project, REMOVED)
        journal.prepare(Intent(moves=[]))
        prepare_log(workspace, LogEntry(type="delete-project", project=project))
        flush_tree(workspace.path, context.service.durability)
        with changing_registry(registry):
            if registry.has(project):
                with suppress(GobblerError):
                    workspace.freed = Freed(project, registry.usage(project).total)
                journal.commit(log=lambda: publish_log(registry, workspace))
        with raising_not_durable(f"the removal of {quoted(project)}"):
            journal.flush(context.service.durability)
    return {}


def delete_asset(context: RequestContext, request: DeleteAsset) -> dict[str, object]:
    """Remove an asset; the answer has no fields of its own."""
    asset = AssetKey.checked(request.project, request.asset)
    check_admin(context, "delete an asset")
    registry = context.service.registry
    if not registry.has(asset.path):
        return {}
    versions = list(registry.versions(asset))
    removal = Removal(asset.project, asset.path, versions, bool(request.force))
    with context.new_workspace() as workspace:
        journal = prepare_removal(registry, workspace, removal)
        entry = LogEntry(type="delete-asset", project=asset.project, asset=asset.asset)
        prepare_log(workspace, entry)
        flush_tree(workspace.path, context.service.durability)
        try:
            with changing_project(registry, asset.project):
                if registry.has(asset.path):
                    now = list(registry.versions(asset))
                    commit_removal(registry, workspace, removal.of(now), journal)
        except Missing:
            return {}  # the project was deleted meanwhile
        with raising_not_durable(f"the removal of {quoted(asset.path)}"):
            journal.flush(context.service.durability)
    return {}


def delete_version(context: RequestContext, request: DeleteVersion) -> dict[str, object]:
    """Remove a version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(context, "delete a version")
    registry = context.service.registry
    if not registry.has(key.path):
        return {}
    force = bool(request.force)
    removal = Removal(key.project, key.path, [key], force, latest_of=key.of_asset)
    with context.new_workspace() as workspace:
        journal = prepare_removal(registry, workspace, removal)
        _prepare_log(context, workspace, key, force=force)
        flush_tree(workspace.path, context.service.durability)
        try:
            with changing_asset(registry, key.of_asset):
                if registry.has(key.path):
                    _prepare_log(context, workspace, key, force=force)
                    commit_removal(registry, workspace, removal, journal)
        except Missing:
            if registry.has(key.path):
                raise
        with raising_not_durable(f"the removal of {quoted(key.path)}"):
            journal.flush(context.service.durability)
    return {}


def _prepare_log(
    context: RequestContext, workspace: Workspace, key: VersionKey, *, force: bool
) -> None:
    """Prepare the log entry, unless the version is on probation and so was never logged."""
    registry = context.service.registry
    try:
        if registry.summary(key).on_probation:
            return
        latest = registry.latest(key.of_asset) == key.version
    except GobblerError:
        if not force:
            raise
        latest = False
    prepare_log(workspace, version_entry("delete-version", key, latest=latest))
