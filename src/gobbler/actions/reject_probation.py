"""``reject_probation``: a version on probation goes."""

from __future__ import annotations

from gobbler.actions.guards import changing_asset
from gobbler.actions.removing import Removal, finish, start
from gobbler.actions.site import Call
from gobbler.actions.versions import existing_version, owners_of
from gobbler.disk.flushing import flush_filesystem
from gobbler.disk.incoming import new_job
from gobbler.errors import Forbidden, GobblerError, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Summary
from gobbler.requests import Reject
from gobbler.rules.permissions import may_reject


def reject_probation(call: Call, request: Reject) -> dict[str, object]:
    """Remove the version; the answer has no fields of its own."""
    key = existing_version(call.site.registry, request)
    force = bool(request.force)
    _check(call, key, force=force)
    registry = call.site.registry
    removal = Removal(key.project, key.path, [key], force)
    with new_job(registry.root) as job:
        journal = start(registry, job, removal)
        flush_filesystem(job.path, call.site.durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            _check(call, key, force=force)
            finish(registry, job, removal, journal)
        flush_filesystem(registry.root, call.site.durability)
    return {}


def _check(call: Call, key: VersionKey, *, force: bool) -> None:
    summary: Summary | None = None
    try:
        summary = call.site.registry.summary(key)
    except GobblerError:
        if not force:
            raise
    project, asset = owners_of(call.site.registry, key)
    uploader = None if summary is None else summary.upload_user_id
    if not may_reject(call.user, call.site.admins, project, asset, uploader):
        raise Forbidden(
            f"user {quoted(call.user)} is not allowed to reject {quoted(key.path)}",
            hint="Only owners of the project or the asset, and whoever uploaded it, are.",
        )
    if summary is not None and not summary.on_probation:
        raise Refused(f"version {quoted(key.path)} is not on probation")
