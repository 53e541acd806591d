"""``upload``: a directory of staging becomes an immutable version."""

from __future__ import annotations

import logging
import os

from gobbler.actions.consuming import cut_off, remove_sources
from gobbler.actions.inspecting import published_versions
from gobbler.actions.nominating import twins_for
from gobbler.actions.publishing import Publication, publish
from gobbler.actions.site import Call
from gobbler.actions.upload_checks import Assumptions, Outdated, authorise
from gobbler.disk.clock import now
from gobbler.disk.incoming import Job
from gobbler.disk.intents import Intent
from gobbler.disk.naming import at
from gobbler.disk.opening import account_name, closing, open_directory, open_users_directory
from gobbler.errors import Fault, Forbidden, Refused, quoted
from gobbler.names import VersionKey, is_internal
from gobbler.records import Manifest, Permissions, Summary, format_time
from gobbler.registry import Registry
from gobbler.requests import Upload
from gobbler.rules.links import Locator, Places, usage_of
from gobbler.rules.permissions import UploadRight
from gobbler.rules.planning import (
    Plan,
    Scan,
    complete,
    linked_versions,
    make_plan,
)
from gobbler.transfer.batch import Source, Stamp
from gobbler.transfer.build import make_symlinks, write_records
from gobbler.transfer.scan import scan
from gobbler.transfer.taking import fetch_content

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often an upload is begun anew because what it relied on had changed at the end."""


def upload(call: Call, request: Upload) -> dict[str, object]:
    """Publish the source as a new version; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    source = _identify(call, request.source)
    for _ in range(ATTEMPTS):
        try:
            _attempt(call, request, key, source)
        except Outdated:
            continue
        return {}
    raise Fault(
        f"what the upload to {quoted(key.path)} relies on changed {ATTEMPTS} times meanwhile",
        hint="Try again when fewer changes are being made to the asset.",
    )


def _identify(call: Call, name: str) -> Source:
    """Open the source once, and remember which directory it is."""
    if name in ("", ".") or "/" in name or "\0" in name or is_internal(name):
        raise Refused(
            f"`source` must be the bare name of a directory in staging, not {quoted(name)}"
        )
    with closing(open_directory(call.site.staging)) as staging:
        descriptor, status = open_users_directory(staging, name, "source directory")
        os.close(descriptor)
        with at(call.site.staging):
            is_inside = status.st_dev == os.fstat(staging).st_dev
    if status.st_uid != call.requester.uid:
        owner = account_name(status.st_uid, f"source directory {quoted(name)}")
        raise Forbidden(
            f"source directory {quoted(name)} belongs to {quoted(owner)}, "
            f"not to the requester {quoted(call.requester.name)}"
        )
    return Source(call.site.staging, name, status.st_dev, status.st_ino, status.st_uid, is_inside)


def _attempt(call: Call, request: Upload, key: VersionKey, source: Source) -> None:
    registry = call.site.registry
    right = authorise(call, key)
    twins = twins_for(call, key.of_asset)
    with source.opened() as directory:
        found = scan(
            directory,
            ignore_dot=bool(request.ignore_dot),
            owner=source.owner,
            check=call.watcher.check,
            width=call.site.width,
        )
    plan = _plan(call, key, source, found)
    # Only what belongs to the service's own account, both file and directory, may keep
    # its inode: nobody else can then have it open for writing, or keep it from going.
    adopt = bool(request.consume) and source.owner == os.geteuid()
    with call.new_job(resume=True) as job:
        content, stamps = fetch_content(
            call.site.workshop,
            job,
            source,
            plan,
            twins,
            consume=bool(request.consume),
            adopt=adopt,
            watcher=call.watcher,
        )
        manifest = complete(key, plan, content)
        summary = Summary(
            upload_user_id=call.user,
            upload_start=format_time(call.started),
            upload_finish=format_time(now()),
            on_probation=bool(request.on_probation) or not right.trusted,
        )
        make_symlinks(job.tree, key, plan, manifest, call.site.width)
        write_records(job.tree, manifest, summary)
        call.watcher.check()
        intent = _intent(key, source, summary, adopted=adopt)
        publish(call.site, job, _publication(call, key, right, manifest, summary, intent))
        if request.consume:
            _consume(registry, job, key, source, stamps, manifest, adopted=adopt)


def _publication(
    call: Call,
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
        owner=Permissions(owners=(call.user,)) if right.makes_owner else None,
        intent=intent,
        check=Assumptions.of(call, key, right, manifest).check,
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


def _plan(call: Call, key: VersionKey, source: Source, found: Scan) -> Plan:
    staging = os.path.realpath(source.staging)
    root = call.site.registry.root
    places = Places(
        source=(f"{staging}/{source.name}", f"{source.staging}/{source.name}"),
        registry=(root, os.path.realpath(root)),
        whitelist=call.site.whitelist,
    )
    locator = Locator(places)
    targets = {
        path: locator(f"{staging}/{source.name}/{path.rpartition('/')[0]}", text)
        for path, text in found.symlinks.items()
    }
    versions = published_versions(call.site.registry, linked_versions(targets))
    return make_plan(key, found, targets, versions)


def _consume(
    registry: Registry,
    job: Job,
    key: VersionKey,
    source: Source,
    stamps: dict[str, Stamp],
    manifest: Manifest,
    *,
    adopted: bool,
) -> None:
    remove_sources(source, stamps)
    if adopted:
        own = [path for path in stamps if manifest[path].link is None]
        try:
            cut_off(registry.path(key.path), own)
        except OSError:
            # The version is published. A sweep will do what is left to do.
            logger.exception("could not cut off %s from its source", quoted(key.path))
            job.unfinished = True
