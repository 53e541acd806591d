"""``approve_probation``: a version on probation becomes final."""

from __future__ import annotations

import os

from msgspec.structs import replace

from gobbler.actions.context import RequestContext, existing_version, owners_of
from gobbler.errors import Code, Forbidden, Refused, quoted
from gobbler.fs.flush import flush_filesystem, raising_not_durable
from gobbler.fs.os_errors import with_path
from gobbler.model.names import VersionKey
from gobbler.model.records import Latest, Summary, encode
from gobbler.model.requests import Approve
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_asset
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.usage import becomes_latest, finish_order
from gobbler.registry.workspace import Workspace
from gobbler.rules.permissions import is_asset_owner


def approve_probation(context: RequestContext, request: Approve) -> dict[str, object]:
    """Drop ``on_probation``; the answer has no fields of its own."""
    key = existing_version(context.service.registry, request)
    registry, durability = context.service.registry, context.service.durability
    summary = _check(context, key)
    with context.new_workspace() as workspace:
        journal = _prepare(context, workspace, key, summary)
        flush_filesystem(workspace.path, durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            if _check(context, key) != summary:
                raise Refused(
                    f"version {quoted(key.path)} was changed by another request; try again",
                    code=Code.VERSION_CHANGED,
                )
            _commit(context, workspace, key, summary, journal)
        with raising_not_durable(f"version {quoted(key.path)}, as a final one,"):
            flush_filesystem(registry.root, durability)
    return {}


def _check(context: RequestContext, key: VersionKey) -> Summary:
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


def _prepare(
    context: RequestContext, workspace: Workspace, key: VersionKey, summary: Summary
) -> Journal:
    journal = Journal(context.service.registry, workspace, marked=True)
    journal.write("summary", encode(replace(summary, on_probation=False)), key.summary)
    # It orders versions that finished within the same second.
    published = os.stat(context.service.registry.path(key.summary)).st_mtime_ns
    with with_path(journal.inside("summary")):
        os.utime(journal.inside("summary"), ns=(published, published))
    journal.prepare(
        Intent(moves=[], project=key.project, asset=key.asset, version=key.version, latest=True)
    )
    prepare_log(workspace, version_entry("add-version", key, latest=True))
    return journal


def _commit(
    context: RequestContext,
    workspace: Workspace,
    key: VersionKey,
    summary: Summary,
    journal: Journal,
) -> None:
    registry = context.service.registry
    published = os.stat(journal.inside("summary")).st_mtime_ns
    if becomes_latest(registry, key, finish_order(summary, published)):
        journal.write("latest", encode(Latest(key.version)), key.of_asset.latest)
    else:
        prepare_log(workspace, version_entry("add-version", key, latest=False), flush=True)
    journal.commit(then=lambda: publish_log(registry, workspace))
