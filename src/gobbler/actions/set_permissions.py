"""``set_permissions``: who owns a project or an asset, and who may upload to it."""

from __future__ import annotations

import os

from gobbler.actions.guards import adding_asset, changing_asset, changing_project, check_project
from gobbler.actions.site import Call
from gobbler.disk.flushing import Durability, already_made, flush_directory, flush_filesystem
from gobbler.disk.incoming import new_job
from gobbler.disk.writing import DIRECTORY_MODE, replace, write_new
from gobbler.errors import Forbidden, quoted
from gobbler.names import PERMISSIONS, AssetKey, check_name, project_permissions
from gobbler.records import LoosePermissions, Permissions, check_uploaders, encode
from gobbler.requests import SetPermissions
from gobbler.rules.permissions import is_asset_owner, is_project_owner, updated


def set_permissions(call: Call, request: SetPermissions) -> dict[str, object]:
    """Replace each given property; the answer has no fields of its own."""
    project = check_name("project", request.project)
    check_uploaders(request.permissions.uploaders or (), "$.permissions.uploaders")
    if request.asset is None:
        _set_for_project(call, project, request.permissions)
        return {}
    asset = AssetKey.checked(project, request.asset)
    check_project(call.site.registry, project)
    while not _set_for_asset(call, asset, request.permissions):
        continue
    return {}


def _set_for_project(call: Call, project: str, asked: LoosePermissions) -> None:
    registry = call.site.registry
    _check_owner(call, project)  # before any lock is taken for somebody who may not
    with new_job(registry.root) as job, changing_project(registry, project):
        stored = _check_owner(call, project)
        path = registry.path(project_permissions(project))
        replace(path, encode(updated(stored, asked)), flush=_full(call), job=job.path)
    with already_made(_change(project)):
        flush_directory(registry.path(project), call.site.durability)


def _check_owner(call: Call, project: str) -> Permissions:
    stored = call.site.registry.permissions(project)
    if not is_project_owner(call.user, call.site.admins, stored):
        raise _forbidden(call, project)
    return stored


def _set_for_asset(call: Call, asset: AssetKey, asked: LoosePermissions) -> bool:
    """Write the asset's file; ``False`` if the asset came or went at that moment."""
    registry = call.site.registry
    if not registry.has(asset.path):
        return _make_asset(call, asset, asked)
    _check_asset_owner(call, asset)
    with new_job(registry.root) as job, changing_asset(registry, asset):
        if not registry.has(asset.path):
            return False
        stored = _check_asset_owner(call, asset)
        new = updated(stored, asked, of_asset=True)
        path = registry.path(asset.permissions)
        replace(path, encode(new), flush=_full(call), job=job.path)
    with already_made(_change(asset.path)):
        flush_directory(registry.path(asset.path), call.site.durability)
    return True


def _check_asset_owner(call: Call, asset: AssetKey) -> Permissions:
    registry = call.site.registry
    stored = registry.asset_permissions(asset)
    project = registry.permissions(asset.project)
    if not is_asset_owner(call.user, call.site.admins, project, stored):
        raise _forbidden(call, asset.path)
    return stored or Permissions()


def _make_asset(call: Call, asset: AssetKey, asked: LoosePermissions) -> bool:
    registry = call.site.registry
    _check_owner(call, asset.project)
    with new_job(registry.root) as job:
        os.mkdir(job.tree, DIRECTORY_MODE)
        new = updated(Permissions(), asked, of_asset=True)
        write_new(f"{job.tree}/{PERMISSIONS}", encode(new))
        flush_filesystem(job.tree, call.site.durability)
        with adding_asset(registry, asset.project):
            _check_owner(call, asset.project)
            if registry.has(asset.path):
                return False
            os.rename(job.tree, registry.path(asset.path))
        with already_made(_change(asset.path)):
            flush_directory(registry.path(asset.project), call.site.durability)
    return True


def _change(place: str) -> str:
    return f"the change of the permissions of {quoted(place)}"


def _full(call: Call) -> bool:
    return call.site.durability is Durability.FULL


def _forbidden(call: Call, place: str) -> Forbidden:
    return Forbidden(
        f"user {quoted(call.user)} is not allowed to set the permissions of {quoted(place)}",
        hint="Only its owners are.",
    )
