"""``reject_probation``: a version on probation is removed."""

from __future__ import annotations

from collections.abc import Callable

from gobbler.actions.context import RequestContext, existing_version, owners_of
from gobbler.errors import Code, Forbidden, GobblerError, Refused, quoted
from gobbler.fs.flush import Durability, flush_filesystem, raising_not_durable
from gobbler.model.names import VersionKey
from gobbler.model.records import Summary
from gobbler.model.requests import Reject
from gobbler.registry.locks import changing_asset
from gobbler.registry.registry import Registry
from gobbler.registry.unpublish import Removal, commit, prepare
from gobbler.registry.workspace import new_workspace
from gobbler.rules.permissions import may_reject


def reject_probation(context: RequestContext, request: Reject) -> dict[str, object]:
    """Remove the version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    force = bool(request.force)

    def check() -> None:
        existing_version(context.service.registry, request)
        _check(context, key, force=force)

    service = context.service
    remove_from_probation(
        service.registry,
        service.durability,
        key,
        check,
        force=force,
        workspace_name=context.workspace_name,
    )
    return {}


def remove_from_probation(
    registry: Registry,
    durability: Durability,
    key: VersionKey,
    check: Callable[[], None],
    *,
    force: bool = False,
    workspace_name: str = "",
) -> None:
    """Remove a version that is not final.

    ``check`` is called before the removal and again under the locks; it may raise.
    """
    check()
    removal = Removal(key.project, key.path, [key], force)
    with new_workspace(registry.root, workspace_name) as workspace:
        journal = prepare(registry, workspace, removal)
        flush_filesystem(workspace.path, durability)
        with changing_asset(registry, key.of_asset):
            check()
            commit(registry, workspace, removal, journal)
        with raising_not_durable(f"the removal of {quoted(key.path)}"):
            flush_filesystem(registry.root, durability)


def _check(context: RequestContext, key: VersionKey, *, force: bool) -> None:
    summary: Summary | None = None
    try:
        summary = context.service.registry.summary(key)
    except GobblerError:
        if not force:
            raise
    project, asset = owners_of(context.service.registry, key)
    uploader = None if summary is None else summary.upload_user_id
    if not may_reject(context.user, context.service.admins, project, asset, uploader):
        raise Forbidden(
            f"user {quoted(context.user)} is not allowed to reject {quoted(key.path)}",
            hint="Ask its uploader, or an owner of the project or of the asset.",
        )
    if summary is not None and not summary.on_probation:
        raise Refused(f"version {quoted(key.path)} is not on probation", code=Code.NOT_ON_PROBATION)
