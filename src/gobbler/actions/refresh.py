"""``refresh_latest`` and ``refresh_usage``: recompute records of the registry."""

from __future__ import annotations

from gobbler.actions.context import RequestContext, check_admin
from gobbler.errors import quoted
from gobbler.fs.flush import flush_directory, raising_not_durable
from gobbler.model.names import AssetKey, check_name
from gobbler.model.requests import RefreshLatest, RefreshUsage
from gobbler.registry.locks import changing_asset, check_asset, check_project
from gobbler.registry.usage import update_latest, update_usage


def refresh_latest(context: RequestContext, request: RefreshLatest) -> dict[str, object]:
    """Recompute the latest version of an asset; the answer has its name as ``version``."""
    asset = AssetKey.checked(request.project, request.asset)
    check_admin(context, "refresh the latest version")
    registry = context.service.registry
    check_asset(registry, asset)
    with context.new_workspace() as workspace, changing_asset(registry, asset):
        version = update_latest(registry, workspace, asset)
    with raising_not_durable(f"the record of the latest version of {quoted(asset.path)}"):
        flush_directory(registry.path(asset.path), context.service.durability)
    return {} if version is None else {"version": version}


def refresh_usage(context: RequestContext, request: RefreshUsage) -> dict[str, object]:
    """Recompute the usage of a project; the answer has it in bytes as ``total`` and ``usage``."""
    project = check_name("project", request.project)
    check_admin(context, "refresh the usage")
    registry = context.service.registry
    check_project(registry, project)
    with context.new_workspace() as workspace:
        total = update_usage(registry, workspace, project)
    with raising_not_durable(f"the record of the usage of {quoted(project)}"):
        flush_directory(registry.path(project), context.service.durability)
    return {"total": total, "usage": total}
