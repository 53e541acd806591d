"""``refresh_latest`` and ``refresh_usage``: recompute records of the registry.

A record that is right as it is needs no lock, and nothing is written.
"""

from __future__ import annotations

from contextlib import suppress

from gobbler.actions.context import RequestContext, check_admin
from gobbler.errors import GobblerError, quoted
from gobbler.fs.flush import flush_directory, raising_not_durable
from gobbler.model.names import AssetKey, check_name
from gobbler.model.requests import RefreshLatest, RefreshUsage
from gobbler.registry.discarded import size_of_discarded
from gobbler.registry.locks import changing_asset, check_asset, check_project
from gobbler.registry.usage import settled_latest, settled_usage, update_latest, update_usage


def refresh_latest(context: RequestContext, request: RefreshLatest) -> dict[str, object]:
    """Recompute the latest version of an asset; the answer has its name as ``version``."""
    asset = AssetKey.checked(request.project, request.asset)
    check_admin(context, "refresh the latest version")
    registry = context.service.registry
    with suppress(GobblerError, OSError):  # what is wrong is reported below
        settled = settled_latest(registry, asset)
        if settled is not None:
            return {"version": settled}
    check_asset(registry, asset)
    with context.new_workspace() as workspace, changing_asset(registry, asset):
        version = update_latest(registry, workspace, asset)
    with raising_not_durable(f"the record of the latest version of {quoted(asset.path)}"):
        flush_directory(registry.path(asset.path), context.service.durability)
    return {} if version is None else {"version": version}


def _updated_usage(context: RequestContext, project: str) -> int:
    registry = context.service.registry
    with context.new_workspace() as workspace:
        total = update_usage(registry, workspace, project)
    with raising_not_durable(f"the record of the usage of {quoted(project)}"):
        flush_directory(registry.path(project), context.service.durability)
    return total


def refresh_usage(context: RequestContext, request: RefreshUsage) -> dict[str, object]:
    """Recompute the usage of a project; the answer has it in bytes as ``total`` and ``usage``.

    ``removing``: bytes of versions that were removed before, which may still take space.
    """
    project = check_name("project", request.project)
    check_admin(context, "refresh the usage")
    registry = context.service.registry
    check_project(registry, project)
    total: int | None = None
    with suppress(GobblerError, OSError):  # what is wrong is reported below
        total = settled_usage(registry, project)
    if total is None:
        total = _updated_usage(context, project)
    removing = 0
    with suppress(OSError):  # the usage is right, whatever can be told besides
        removing = size_of_discarded(registry.root, project)
    return {"total": total, "usage": total, **({"removing": removing} if removing else {})}
