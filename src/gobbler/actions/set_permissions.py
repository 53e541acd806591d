"""``set_permissions``: who owns a project or an asset, and who may upload to it."""

from __future__ import annotations

import os

from gobbler.actions.guards import adding_asset, changing_asset, changing_project, check_project
from gobbler.actions.journal import Journal
from gobbler.actions.replacing import replace_record
from gobbler.actions.site import Call
from gobbler.disk.flushing import (
    already_made,
    flush_files,
)
from gobbler.disk.writing import DIRECTORY_MODE, write_new
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
    replace_record(
        call,
        changing_project(registry, project),
        project_permissions(project),
        lambda: encode(updated(_check_owner(call, project), asked)),
        _change(project),
    )


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

    def decide() -> bytes | None:
        if not registry.has(asset.path):
            return None
        return encode(updated(_check_asset_owner(call, asset), asked, of_asset=True))

    guard = changing_asset(registry, asset)
    return replace_record(call, guard, asset.permissions, decide, _change(asset.path))


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
    with call.new_job() as job:
        journal = Journal(registry, job, marked=False)
        journal.bring_new("tree", asset.path)
        os.mkdir(job.tree, DIRECTORY_MODE)
        new = updated(Permissions(), asked, of_asset=True)
        write_new(f"{job.tree}/{PERMISSIONS}", encode(new))
        journal.record(None)
        flush_files(job.path, call.site.durability)
        with adding_asset(registry, asset.project):
            _check_owner(call, asset.project)
            if registry.has(asset.path):
                return False
            journal.commit()
        with already_made(_change(asset.path)):
            journal.flush_moves(call.site.durability)
    return True


def _change(place: str) -> str:
    return f"the change of the permissions of {quoted(place)}"


def _forbidden(call: Call, place: str) -> Forbidden:
    return Forbidden(
        f"user {quoted(call.user)} is not allowed to set the permissions of {quoted(place)}",
        hint="Only its owners are.",
    )
