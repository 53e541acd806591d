"""``refresh_latest`` and ``refresh_usage``: find anew what the records should say."""

from __future__ import annotations

from gobbler.actions.accounting import recount, redecide_latest
from gobbler.actions.guards import changing_asset, check_asset, check_project
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin
from gobbler.disk.flushing import already_made, flush_directory
from gobbler.errors import quoted
from gobbler.names import AssetKey, check_name
from gobbler.requests import RefreshLatest, RefreshUsage


def refresh_latest(call: Call, request: RefreshLatest) -> dict[str, object]:
    """Record an asset's latest version anew; ``version`` of the answer, if there is one."""
    asset = AssetKey.checked(request.project, request.asset)
    check_admin(call, "refresh the latest version")
    registry = call.site.registry
    check_asset(registry, asset)
    with call.new_job() as job, changing_asset(registry, asset):
        version = redecide_latest(registry, job, asset)
    with already_made(f"the record of the latest version of {quoted(asset.path)}"):
        flush_directory(registry.path(asset.path), call.site.durability)
    return {} if version is None else {"version": version}


def refresh_usage(call: Call, request: RefreshUsage) -> dict[str, object]:
    """Count a project's usage anew; ``total`` of the answer, in bytes, is also ``usage``."""
    project = check_name("project", request.project)
    check_admin(call, "refresh the usage")
    registry = call.site.registry
    check_project(registry, project)
    with call.new_job() as job:
        total = recount(registry, job, project)
    with already_made(f"the record of the usage of {quoted(project)}"):
        flush_directory(registry.path(project), call.site.durability)
    return {"total": total, "usage": total}
