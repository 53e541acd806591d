"""``reindex_version``: an administrator has put files there; manifest and links follow."""

from __future__ import annotations

import os

from gobbler.actions.guards import changing_asset
from gobbler.actions.inspecting import (
    Found,
    links_file,
    look_at,
    published_versions,
    targets_of,
)
from gobbler.actions.journal import Journal
from gobbler.actions.logs import prepare_log, publish_log, version_entry
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin, existing_version
from gobbler.disk.flushing import already_made, flush_filesystem
from gobbler.disk.incoming import Job
from gobbler.disk.intents import Intent
from gobbler.disk.writing import DIRECTORY_MODE
from gobbler.errors import Fault, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Entry, Manifest, encode
from gobbler.requests import OfVersion
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.planning import Plan, complete, linked_versions, make_plan
from gobbler.transfer.build import hash_files, hash_kept


def reindex_version(call: Call, request: OfVersion) -> dict[str, object]:
    """Rebuild ``..manifest`` and ``..links``; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(call, "reindex a version")
    registry = call.site.registry
    existing_version(registry, request)
    summary = registry.summary(key)
    found = look_at(call, key)
    targets = targets_of(call, key, found)
    plan = make_plan(
        key, found.scan, targets, published_versions(registry, linked_versions(targets))
    )
    with call.new_job() as job:
        os.mkdir(job.tree, DIRECTORY_MODE)
        manifest = complete(key, plan, _content(call, job, key, plan))
        journal = Journal(registry, job, marked=True)
        _stage(journal, key, found, plan, manifest)
        journal.record(Intent(moves=[], project=key.project, asset=key.asset, version=key.version))
        flush_filesystem(job.path, call.site.durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            if not summary.on_probation:
                latest = registry.latest(key.of_asset) == key.version
                prepare_log(job, version_entry("reindex-version", key, latest=latest), flush=True)
            journal.commit(then=lambda: publish_log(registry, job))
        with already_made(f"the new index of {quoted(key.path)}"):
            flush_filesystem(registry.root, call.site.durability)
    return {}


def _content(call: Call, job: Job, key: VersionKey, plan: Plan) -> Manifest:
    shop = call.site.workshop
    entries = hash_kept(shop, job, plan, watcher=call.watcher)
    root = call.site.registry.path(key.path)
    for hashed in hash_files(shop, job, root, plan.copies, watcher=call.watcher):
        if hashed.problem:
            reason = f"{quoted(key.file(hashed.path))} {hashed.problem}"
            raise Fault(reason) if hashed.failed else Refused(reason)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def _stage(journal: Journal, key: VersionKey, found: Found, plan: Plan, manifest: Manifest) -> None:
    """Prepare what differs: symbolic links, ``..links``, and the manifest last."""
    wanted = {
        path: symlink_text(key, path, entry.link)
        for path, entry in manifest.items()
        if entry.link is not None
    } | {path: target.target for path, target in plan.kept.items()}
    for number, (path, text) in enumerate(wanted.items()):
        if found.scan.symlinks.get(path) != text:
            os.symlink(text, journal.inside(f"symlink-{number}"))
            journal.bring_link(f"symlink-{number}", key.file(path))
    links = links_by_directory(manifest)
    for number, directory in enumerate(sorted({*links, *found.links, *found.damaged})):
        target = key.file(links_file(directory))
        if directory not in links:
            journal.take_out(target, f"former-links-{number}")
        elif links[directory] != found.links.get(directory):
            journal.write(f"links-{number}", encode(links[directory]), target)
    journal.write("manifest", encode(manifest), key.manifest)
