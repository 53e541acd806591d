"""``set_permissions``: who owns a project or an asset, and who may upload to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from gobbler.actions.context import RequestContext
from gobbler.actions.permission_warnings import permission_warnings
from gobbler.errors import Fault, Forbidden, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE, write_new
from gobbler.fs.flush import flush_directory, flush_tree, raising_not_durable
from gobbler.model.names import PERMISSIONS, AssetKey, check_name, project_permissions
from gobbler.model.records import LoosePermissions, Permissions, check_uploaders, encode
from gobbler.model.requests import SetPermissions
from gobbler.registry.draft import directories_to_flush, write_record
from gobbler.registry.journal import Journal
from gobbler.registry.locks import adding_asset, changing_asset, changing_project, check_project
from gobbler.rules.permissions import is_asset_owner, is_project_owner, updated

logger = logging.getLogger(__name__)


def set_permissions(context: RequestContext, request: SetPermissions) -> dict[str, object]:
    """Replace each given property; the answer may have ``warnings``."""
    project = check_name("project", request.project)
    asked = request.permissions
    check_uploaders(asked.uploaders or (), "$.permissions.uploaders")
    if request.asset is None:
        return _set_for_project(context, project, asked)
    asset = AssetKey.checked(project, request.asset)
    check_project(context.service.registry, project)
    registry = context.service.registry
    before = _stored(context, lambda: registry.asset_permissions(asset) or Permissions())
    answer = permission_warnings(context, before, asked, is_asset=True)
    while not _set_for_asset(context, asset, asked, answer):
        continue
    return answer


def _set_for_project(
    context: RequestContext, project: str, asked: LoosePermissions
) -> dict[str, object]:
    """Write the project's file; the answer."""
    registry = context.service.registry
    before = _check_owner(context, project)  # before a lock is taken
    answer = permission_warnings(context, before, asked, is_asset=False)
    replace_record(
        context,
        changing_project(registry, project),
        project_permissions(project),
        lambda: encode(updated(_check_owner(context, project), asked)),
        _change(project),
        answer,
    )
    return answer


def _check_owner(context: RequestContext, project: str) -> Permissions:
    stored = _stored(context, lambda: context.service.registry.permissions(project))
    if not is_project_owner(context.user, context.service.admins, stored):
        raise _forbidden(context, project)
    return stored


def _stored(context: RequestContext, read: Callable[[], Permissions]) -> Permissions:
    """The stored permissions; for administrators, none if the record is damaged or lost.

    So they can set them anew.
    """
    try:
        return read()
    except Fault as error:
        if context.user not in context.service.admins:
            raise
        logger.warning("%s sets permissions anew, because %s", context.user, error)
        return Permissions()


def _set_for_asset(
    context: RequestContext,
    asset: AssetKey,
    asked: LoosePermissions,
    answer: dict[str, object],
) -> bool:
    """Write the asset's file; ``False`` if the asset was created or deleted meanwhile."""
    registry = context.service.registry
    if not registry.has(asset.path):
        return _make_asset(context, asset, asked, answer)
    _check_asset_owner(context, asset)

    def decide() -> bytes | None:
        if not registry.has(asset.path):
            return None
        return encode(updated(_check_asset_owner(context, asset), asked, is_asset=True))

    guard = changing_asset(registry, asset)
    return replace_record(context, guard, asset.permissions, decide, _change(asset.path), answer)


def _check_asset_owner(context: RequestContext, asset: AssetKey) -> Permissions:
    registry = context.service.registry
    stored = _stored(context, lambda: registry.asset_permissions(asset) or Permissions())
    project = _stored(context, lambda: registry.permissions(asset.project))
    if not is_asset_owner(context.user, context.service.admins, project, stored):
        raise _forbidden(context, asset.path)
    return stored


def _make_asset(
    context: RequestContext,
    asset: AssetKey,
    asked: LoosePermissions,
    answer: dict[str, object],
) -> bool:
    registry = context.service.registry
    _check_owner(context, asset.project)
    with context.new_workspace() as workspace:
        journal = Journal(registry, workspace, marked=False)
        journal.add("tree", asset.path)
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        new = updated(Permissions(), asked, is_asset=True)
        write_new(f"{workspace.tree}/{PERMISSIONS}", encode(new))
        journal.prepare(None, answer)
        flush_tree(workspace.path, context.service.durability)
        with adding_asset(registry, asset.project):
            _check_owner(context, asset.project)
            if registry.has(asset.path):
                return False
            journal.commit()
        with raising_not_durable(_change(asset.path)):
            journal.flush(context.service.durability)
    return True


def _change(place: str) -> str:
    return f"the change of the permissions of {quoted(place)}"


def _forbidden(context: RequestContext, place: str) -> Forbidden:
    return Forbidden(
        f"user {quoted(context.user)} is not allowed to set the permissions of {quoted(place)}",
        hint="Ask one of its owners.",
    )


def replace_record(
    context: RequestContext,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
    answer: dict[str, object],
) -> bool:
    """Write the record that ``decide`` returns to the path ``target``, while ``guard`` is held.

    Returns ``False``, and changes nothing, if ``decide`` returns ``None``. The content is flushed
    under the locks, as it depends on the stored record. In a resumable workspace the change also
    leaves its ``answer``, through a journal. ``change`` names the change in an error about its
    durability.
    """
    if context.workspace_name:
        return _by_journal(context, guard, target, decide, change, answer)
    root, durability = context.service.registry.root, context.service.durability
    path = context.service.registry.path(target)
    with guard:
        data = decide()
        if data is None:
            return False
        write_record(root, path, data, durability)
    with raising_not_durable(change):
        for directory in directories_to_flush(root, path):
            flush_directory(directory, durability)
    return True


def _by_journal(
    context: RequestContext,
    guard: AbstractContextManager[None],
    target: str,
    decide: Callable[[], bytes | None],
    change: str,
    answer: dict[str, object],
) -> bool:
    with context.new_workspace() as workspace:
        with guard:
            data = decide()
            if data is None:
                return False
            journal = Journal(context.service.registry, workspace, marked=False)
            journal.write("record", data, target)
            journal.prepare(None, answer)
            flush_tree(workspace.path, context.service.durability)
            journal.commit()
        with raising_not_durable(change):
            journal.flush(context.service.durability)
    return True
