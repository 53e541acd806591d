"""``upload``: a directory of staging becomes an immutable version."""

from __future__ import annotations

import logging
import os

from gobbler.actions.context import RequestContext
from gobbler.actions.dedup_candidates import dedup_candidates
from gobbler.actions.upload_checks import Assumptions, Outdated, authorise
from gobbler.actions.version_scan import published_versions
from gobbler.errors import Code, Fault, Forbidden, Refused, quoted
from gobbler.fs.clock import now
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.open import account_name, closing, open_directory, open_users_directory
from gobbler.fs.os_errors import with_path
from gobbler.model.names import VersionKey, is_internal
from gobbler.model.records import Manifest, Permissions, Summary, format_time
from gobbler.model.requests import Upload
from gobbler.registry.consume import detach_files, remove_sources
from gobbler.registry.journal import Intent
from gobbler.registry.publish import Publication, publish
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import Places, usage_of
from gobbler.rules.permissions import UploadRight
from gobbler.rules.upload_plan import Plan, Scan, complete, linked_versions, locate_links, make_plan
from gobbler.transfer.batch import Source
from gobbler.transfer.build import make_symlinks, write_records
from gobbler.transfer.ingest import ingest_files
from gobbler.transfer.scan import scan

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often an upload is begun anew because what it relied on had changed at the end."""


def upload(context: RequestContext, request: Upload) -> dict[str, object]:
    """Publish the source as a new version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    source = _identify(context, request.source)
    for _ in range(ATTEMPTS):
        try:
            _attempt(context, request, key, source)
        except Outdated:
            continue
        return {}
    raise Fault(
        f"what the upload to {quoted(key.path)} relies on changed {ATTEMPTS} times meanwhile",
        code=Code.CONTENTION,
        hint="Try again when fewer changes are being made to the asset.",
    )


def _identify(context: RequestContext, name: str) -> Source:
    """Open the source once, and remember which directory it is."""
    if name in ("", ".") or "/" in name or "\0" in name or is_internal(name):
        raise Refused(
            f"`source` must be the bare name of a directory in staging, not {quoted(name)}",
            code=Code.INVALID_NAME,
        )
    with closing(open_directory(context.service.staging)) as staging:
        descriptor, status = open_users_directory(staging, name, "source directory")
        os.close(descriptor)
        with with_path(context.service.staging):
            is_inside = status.st_dev == os.fstat(staging).st_dev
    if status.st_uid != context.requester.uid:
        owner = account_name(status.st_uid, f"source directory {quoted(name)}")
        raise Forbidden(
            f"source directory {quoted(name)} belongs to {quoted(owner)}, "
            f"not to the requester {quoted(context.requester.name)}",
            code=Code.FOREIGN_SOURCE,
        )
    return Source(
        context.service.staging, name, status.st_dev, status.st_ino, status.st_uid, is_inside
    )


def _attempt(context: RequestContext, request: Upload, key: VersionKey, source: Source) -> None:
    registry = context.service.registry
    right = authorise(context, key)
    candidates = dedup_candidates(context, key.of_asset)
    with source.opened() as directory:
        found = scan(
            directory,
            ignore_dot=bool(request.ignore_dot),
            owner=source.owner,
            cancel=context.cancel,
            width=context.service.width,
        )
    plan = _plan(context, key, source, found)
    # Only what belongs to the service's own account, both file and directory, may keep
    # its inode: nobody else can then have it open for writing, or keep it from going.
    adopt = bool(request.consume) and source.owner == os.geteuid()
    with context.new_workspace(resume=True) as workspace:
        content, fingerprints = ingest_files(
            context.dispatcher(workspace),
            source,
            plan,
            candidates,
            consume=bool(request.consume),
            adopt=adopt,
        )
        manifest = complete(key, plan, content)
        summary = Summary(
            upload_user_id=context.user,
            upload_start=format_time(context.started),
            upload_finish=format_time(now()),
            on_probation=bool(request.on_probation) or not right.trusted,
        )
        make_symlinks(workspace.tree, key, plan, manifest, context.service.width)
        write_records(workspace.tree, manifest, summary)
        context.cancel.check()
        intent = _intent(key, source, summary, adopted=adopt)
        publish(
            registry,
            context.service.durability,
            workspace,
            _publication(context, key, right, manifest, summary, intent),
        )
        if request.consume:
            _consume(registry, workspace, key, source, fingerprints, manifest, adopted=adopt)


def _publication(
    context: RequestContext,
    key: VersionKey,
    right: UploadRight,
    manifest: Manifest,
    summary: Summary,
    intent: Intent,
) -> Publication:
    return Publication(
        key=key,
        summary=summary,
        usage=usage_of(manifest),
        owner=Permissions(owners=(context.user,)) if right.makes_owner else None,
        intent=intent,
        check=Assumptions.of(context, key, right, manifest).check,
    )


def _intent(key: VersionKey, source: Source, summary: Summary, *, adopted: bool) -> Intent:
    return Intent(
        moves=[],
        project=key.project,
        asset=key.asset,
        version=key.version,
        recount=[key.project],
        latest=not summary.on_probation,
        staging=source.staging,
        source=source.name,
        adopted=adopted,
    )


def _plan(context: RequestContext, key: VersionKey, source: Source, found: Scan) -> Plan:
    staging = os.path.realpath(source.staging)
    root = context.service.registry.root
    places = Places(
        source=(f"{staging}/{source.name}", f"{source.staging}/{source.name}"),
        registry=(root, os.path.realpath(root)),
        whitelist=context.service.whitelist,
    )
    targets = locate_links(found, f"{staging}/{source.name}", places)
    versions = published_versions(context.service.registry, linked_versions(targets))
    return make_plan(key, found, targets, versions)


def _consume(
    registry: Registry,
    workspace: Workspace,
    key: VersionKey,
    source: Source,
    fingerprints: dict[str, Fingerprint],
    manifest: Manifest,
    *,
    adopted: bool,
) -> None:
    remove_sources(source.name, source.opened(), fingerprints)
    if adopted:
        own = [path for path in fingerprints if manifest[path].link is None]
        try:
            detach_files(registry.path(key.path), own)
        except OSError:
            # The version is published. A sweep will do what is left to do.
            logger.exception("could not cut off %s from its source", quoted(key.path))
            workspace.keep = True
