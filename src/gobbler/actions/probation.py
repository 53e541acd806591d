"""``approve_probation`` and ``reject_probation``: a version becomes final, or is removed."""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec.structs import replace

from gobbler.actions.context import RequestContext, existing_version, owners_of
from gobbler.errors import Code, Forbidden, GobblerError, Refused, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.flush import Durability, flush_tree, raising_not_durable
from gobbler.fs.os_errors import with_path
from gobbler.fs.record_file import read_file
from gobbler.model.names import VersionKey
from gobbler.model.records import Latest, Summary, encode
from gobbler.model.requests import Approve, Reject
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_asset
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.publish import Removal, commit_removal, prepare_removal
from gobbler.registry.registry import Registry
from gobbler.registry.usage import finish_order, present_latest
from gobbler.registry.workspace import Workspace, new_workspace
from gobbler.rules.permissions import is_asset_owner, may_reject
from gobbler.rules.review import checked_digest, review_digest


def approve_probation(context: RequestContext, request: Approve) -> dict[str, object]:
    """Drop ``on_probation``; the answer has no fields of its own."""
    reviewed = request.reviewed
    if reviewed is not None:
        reviewed = checked_digest(reviewed, "`reviewed`")
    key = existing_version(context.service.registry, request)
    registry, durability = context.service.registry, context.service.durability
    state = _state(registry, key)
    summary = _check_approval(context, key)
    if reviewed is not None:
        _check_review(registry, key, reviewed)
    with context.new_workspace() as workspace:
        journal = _prepare_approval(context, workspace, key, summary, state[0].mtime_ns)
        flush_tree(workspace.path, durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            if _check_approval(context, key) != summary or _state(registry, key) != state:
                raise Refused(
                    f"version {quoted(key.path)} was changed by another request",
                    code=Code.VERSION_CHANGED if reviewed is None else Code.NOT_REVIEWED,
                    hint="Review it again.",
                )
            _commit_approval(context, workspace, key, summary, journal)
        with raising_not_durable(f"version {quoted(key.path)}, as a final one,"):
            journal.flush(durability)
    return {}


def _check_approval(context: RequestContext, key: VersionKey) -> Summary:
    project, asset = owners_of(context.service.registry, key)
    if not is_asset_owner(context.user, context.service.admins, project, asset):
        raise Forbidden(
            f"user {quoted(context.user)} is not allowed to approve {quoted(key.path)}",
            hint="Ask an owner of the project or of the asset.",
        )
    summary = context.service.registry.summary(key)
    if not summary.on_probation:
        raise Refused(f"version {quoted(key.path)} is not on probation", code=Code.NOT_ON_PROBATION)
    return summary


def _state(registry: Registry, key: VersionKey) -> tuple[Fingerprint, Fingerprint]:
    """The state of the records of a version, which are read only afterwards."""
    return registry.fingerprint(key.summary), registry.fingerprint(key.manifest)


def _check_review(registry: Registry, key: VersionKey, reviewed: str) -> None:
    """Raise :class:`~gobbler.errors.Refused` unless ``reviewed`` is the digest of the version."""
    records = [read_file(registry.path(where), where) for where in (key.summary, key.manifest)]
    found = review_digest(*records)
    if found != reviewed:
        raise Refused(
            f"version {quoted(key.path)} is not the one that was reviewed: its digest is {found}",
            code=Code.NOT_REVIEWED,
            hint="It was uploaded again, or reindexed, since. Review it again.",
        )


def _prepare_approval(
    context: RequestContext,
    workspace: Workspace,
    key: VersionKey,
    summary: Summary,
    published: int,
) -> Journal:
    journal = Journal(context.service.registry, workspace, marked=True)
    journal.write("summary", encode(replace(summary, on_probation=False)), key.summary)
    # The time of the file orders versions that finished within the same second.
    with with_path(journal.inside("summary")):
        os.utime(journal.inside("summary"), ns=(published, published))
    journal.prepare(
        Intent(moves=[], project=key.project, asset=key.asset, version=key.version, latest=True)
    )
    prepare_log(workspace, version_entry("add-version", key, latest=True))
    return journal


def _commit_approval(
    context: RequestContext,
    workspace: Workspace,
    key: VersionKey,
    summary: Summary,
    journal: Journal,
) -> None:
    registry = context.service.registry
    published = os.stat(journal.inside("summary")).st_mtime_ns
    present = present_latest(registry, key.of_asset)
    if present is None or finish_order(summary, published) >= present:
        journal.write("latest", encode(Latest(key.version)), key.of_asset.latest)
    else:
        prepare_log(workspace, version_entry("add-version", key, latest=False), flush=True)
    journal.commit(log=lambda: publish_log(registry, workspace))


def reject_probation(context: RequestContext, request: Reject) -> dict[str, object]:
    """Remove the version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    force = bool(request.force)

    def check() -> None:
        existing_version(context.service.registry, request)
        _check_rejection(context, key, force=force)

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
        journal = prepare_removal(registry, workspace, removal)
        flush_tree(workspace.path, durability)
        with changing_asset(registry, key.of_asset):
            check()
            commit_removal(registry, workspace, removal, journal)
        with raising_not_durable(f"the removal of {quoted(key.path)}"):
            journal.flush(durability)


def _check_rejection(context: RequestContext, key: VersionKey, *, force: bool) -> None:
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
