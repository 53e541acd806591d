"""``delete_project``, ``delete_asset``, ``delete_version``: for administrators.

What is not there is a success: the wish is fulfilled.
"""

from __future__ import annotations

from gobbler.actions.guards import changing_asset, changing_project, changing_registry
from gobbler.actions.journal import Journal
from gobbler.actions.logs import prepare_log, publish_log, version_entry
from gobbler.actions.removing import REMOVED, Removal, finish, start
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin
from gobbler.disk.flushing import already_made, flush_filesystem
from gobbler.disk.incoming import Job
from gobbler.disk.intents import Intent
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.names import AssetKey, VersionKey, check_name
from gobbler.records import LogEntry
from gobbler.requests import DeleteAsset, DeleteProject, DeleteVersion


def delete_project(call: Call, request: DeleteProject) -> dict[str, object]:
    """Remove a project; the answer has no fields of its own."""
    project = check_name("project", request.project)
    check_admin(call, "delete a project")
    registry = call.site.registry
    if not registry.has(project):
        return {}
    with call.new_job() as job:
        journal = Journal(registry, job, marked=False)
        journal.take_out(project, REMOVED)
        journal.record(Intent(moves=[]))
        prepare_log(job, LogEntry(type="delete-project", project=project))
        flush_filesystem(job.path, call.site.durability)
        with changing_registry(registry):
            if registry.has(project):
                journal.commit(then=lambda: publish_log(registry, job))
        with already_made(f"the removal of {quoted(project)}"):
            flush_filesystem(registry.root, call.site.durability)
    return {}


def delete_asset(call: Call, request: DeleteAsset) -> dict[str, object]:
    """Remove an asset; the answer has no fields of its own."""
    asset = AssetKey.checked(request.project, request.asset)
    check_admin(call, "delete an asset")
    registry = call.site.registry
    if not registry.has(asset.path):
        return {}
    versions = list(registry.versions(asset))
    removal = Removal(asset.project, asset.path, versions, bool(request.force))
    with call.new_job() as job:
        journal = start(registry, job, removal)
        entry = LogEntry(type="delete-asset", project=asset.project, asset=asset.asset)
        prepare_log(job, entry)
        flush_filesystem(job.path, call.site.durability)
        try:
            with changing_project(registry, asset.project):
                if registry.has(asset.path):
                    now = list(registry.versions(asset))
                    finish(registry, job, removal.of(now), journal)
        except Missing:
            return {}  # the whole project went meanwhile
        with already_made(f"the removal of {quoted(asset.path)}"):
            flush_filesystem(registry.root, call.site.durability)
    return {}


def delete_version(call: Call, request: DeleteVersion) -> dict[str, object]:
    """Remove a version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(call, "delete a version")
    registry = call.site.registry
    if not registry.has(key.path):
        return {}
    force = bool(request.force)
    removal = Removal(key.project, key.path, [key], force, relatest=key.of_asset)
    with call.new_job() as job:
        journal = start(registry, job, removal)
        _prepare_log(call, job, key, force=force)
        flush_filesystem(job.path, call.site.durability)
        try:
            with changing_asset(registry, key.of_asset):
                if registry.has(key.path):
                    _prepare_log(call, job, key, force=force)
                    finish(registry, job, removal, journal)
        except Missing:
            if registry.has(key.path):
                raise
        with already_made(f"the removal of {quoted(key.path)}"):
            flush_filesystem(registry.root, call.site.durability)
    return {}


def _prepare_log(call: Call, job: Job, key: VersionKey, *, force: bool) -> None:
    """Prepare the log entry, unless the version is on probation and nobody was told of it."""
    registry = call.site.registry
    try:
        if registry.summary(key).on_probation:
            return
        latest = registry.latest(key.of_asset) == key.version
    except GobblerError:
        if not force:
            raise
        latest = False
    prepare_log(job, version_entry("delete-version", key, latest=latest))
