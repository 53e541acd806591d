"""``reindex_version``: rebuilds manifest and links after an administrator changed files."""

from __future__ import annotations

import os

from gobbler.actions.context import RequestContext, check_admin, existing_version
from gobbler.actions.version_scan import (
    VersionScan,
    links_file,
    published_versions,
    scan_version,
    targets_of,
)
from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.flush import flush_tree, raising_not_durable
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Manifest, encode_parts
from gobbler.model.requests import OfVersion
from gobbler.registry.journal import Intent, Journal
from gobbler.registry.locks import changing_asset
from gobbler.registry.log import prepare_log, publish_log, version_entry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import links_by_directory, symlink_text
from gobbler.rules.upload_plan import Plan, complete, linked_versions, make_plan
from gobbler.transfer.hash_files import hash_files, hash_kept

REINDEX_ATTEMPTS = 5
"""How often reindexing starts over because others changed the version meanwhile."""


def reindex_version(context: RequestContext, request: OfVersion) -> dict[str, object]:
    """Rebuild ``..manifest`` and ``..links``; the answer has no fields of its own."""
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(context, "reindex a version")
    for _ in range(REINDEX_ATTEMPTS):
        if _attempt(context, request, key):
            return {}
    raise Fault(
        f"the records of {quoted(key.path)} changed {REINDEX_ATTEMPTS} times meanwhile",
        code=Code.CONTENTION,
        hint="Try again when no links are rerouted.",
    )


OUTSIDE_HINT = (
    "Remove such links from the version, or whitelist the directories that they lead to; then "
    "reindex it again."
)
"""The hint for links of a version that lead out of the registry."""


def _attempt(context: RequestContext, request: OfVersion, key: VersionKey) -> bool:
    """Reindex, unless the manifest changes after the first look: rerouting replaces files, too."""
    registry = context.service.registry
    existing_version(registry, request)
    registry.summary(key)  # without it, nothing is changed
    seen = registry.fingerprint(key.manifest)
    found = scan_version(context, key)
    targets = targets_of(context, key, found)
    plan = make_plan(
        key,
        found.scan,
        targets,
        published_versions(registry, linked_versions(targets)),
        outside=OUTSIDE_HINT,
    )
    with context.new_workspace() as workspace:
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        manifest = complete(key, plan, _content(context, workspace, key, plan))
        journal = Journal(registry, workspace, marked=True)
        _stage(journal, key, found, plan, manifest)
        journal.prepare(Intent(moves=[], project=key.project, asset=key.asset, version=key.version))
        flush_tree(workspace.path, context.service.durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            if registry.fingerprint(key.manifest) != seen:
                return False
            if not registry.summary(key).on_probation:
                latest = registry.latest(key.of_asset) == key.version
                prepare_log(
                    workspace, version_entry("reindex-version", key, latest=latest), flush=True
                )
            journal.commit(log=lambda: publish_log(registry, workspace))
        with raising_not_durable(f"the new index of {quoted(key.path)}"):
            journal.flush(context.service.durability)
    return True


def _content(
    context: RequestContext, workspace: Workspace, key: VersionKey, plan: Plan
) -> Manifest:
    dispatcher = context.dispatcher(workspace)
    entries = hash_kept(dispatcher, plan)
    root = context.service.registry.path(key.path)
    for hashed in hash_files(dispatcher, root, plan.copies):
        if hashed.problem:
            reason = f"{quoted(key.file(hashed.path))} {hashed.problem}"
            if hashed.failed:
                raise Fault(reason, code=Code.IO_ERROR)
            raise Refused(reason, code=Code.INVALID_VERSION)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def _stage(
    journal: Journal, key: VersionKey, found: VersionScan, plan: Plan, manifest: Manifest
) -> None:
    """Prepare the changes: symbolic links, ``..links``, and last the manifest."""
    wanted = {
        path: symlink_text(key, path, entry.link)
        for path, entry in manifest.items()
        if entry.link is not None
    } | {path: target.target for path, target in plan.kept.items()}
    for number, (path, text) in enumerate(wanted.items()):
        if found.scan.symlinks.get(path) != text:
            os.symlink(text, journal.inside(f"symlink-{number}"))
            journal.replace_link(f"symlink-{number}", key.file(path))
    links = links_by_directory(manifest)
    for number, directory in enumerate(sorted({*links, *found.links, *found.damaged})):
        target = key.file(links_file(directory))
        if directory not in links:
            journal.remove(target, f"former-links-{number}")
        elif links[directory] != found.links.get(directory):
            journal.write(f"links-{number}", encode_parts(links[directory]), target)
    journal.write("manifest", encode_parts(manifest), key.manifest)
