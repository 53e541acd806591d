"""``reject_probation``: a version on probation goes."""

from __future__ import annotations

from collections.abc import Callable

from gobbler.actions.guards import changing_asset
from gobbler.actions.removing import Removal, finish, start
from gobbler.actions.site import Call
from gobbler.actions.versions import existing_version, owners_of
from gobbler.disk.flushing import Durability, already_made, flush_filesystem
from gobbler.disk.incoming import new_job
from gobbler.errors import Forbidden, GobblerError, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Summary
from gobbler.registry import Registry
from gobbler.requests import Reject
from gobbler.rules.permissions import may_reject


def reject_probation(call: Call, request: Reject) -> dict[str, object]:
    """Remove the version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    force = bool(request.force)

    def check() -> None:
        existing_version(call.site.registry, request)
        _check(call, key, force=force)

    site = call.site
    remove_from_probation(site.registry, site.durability, key, check, force=force, task=call.task)
    return {}


def remove_from_probation(
    registry: Registry,
    durability: Durability,
    key: VersionKey,
    check: Callable[[], None],
    *,
    force: bool = False,
    task: str = "",
) -> None:
    """Remove a version that is not final.

    ``check`` is called before the work and again under the locks; it raises to prevent it.
    """
    check()
    removal = Removal(key.project, key.path, [key], force)
    with new_job(registry.root, task) as job:
        journal = start(registry, job, removal)
        flush_filesystem(job.path, durability)
        with changing_asset(registry, key.of_asset):
            check()
            finish(registry, job, removal, journal)
        with already_made(f"the removal of {quoted(key.path)}"):
            flush_filesystem(registry.root, durability)


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
