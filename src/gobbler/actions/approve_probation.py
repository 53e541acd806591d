"""``approve_probation``: a version on probation becomes final."""

from __future__ import annotations

import os

from msgspec.structs import replace

from gobbler.actions.accounting import becomes_latest, finish_order
from gobbler.actions.guards import changing_asset
from gobbler.actions.journal import Journal
from gobbler.actions.logs import prepare_log, publish_log, version_entry
from gobbler.actions.site import Call
from gobbler.actions.versions import existing_version, owners_of
from gobbler.disk.flushing import already_made, flush_filesystem
from gobbler.disk.incoming import Job
from gobbler.disk.intents import Intent
from gobbler.disk.naming import at
from gobbler.errors import Forbidden, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Latest, Summary, encode
from gobbler.requests import Approve
from gobbler.rules.permissions import is_asset_owner


def approve_probation(call: Call, request: Approve) -> dict[str, object]:
    """Drop ``on_probation``; the answer has no fields of its own."""
    key = existing_version(call.site.registry, request)
    registry, durability = call.site.registry, call.site.durability
    summary = _check(call, key)
    with call.new_job() as job:
        journal = _prepare(call, job, key, summary)
        flush_filesystem(job.path, durability)
        with changing_asset(registry, key.of_asset):
            existing_version(registry, request)
            if _check(call, key) != summary:
                raise Refused(f"version {quoted(key.path)} changed at the same moment; try again")
            _commit(call, job, key, summary, journal)
        with already_made(f"version {quoted(key.path)}, as a final one,"):
            flush_filesystem(registry.root, durability)
    return {}


def _check(call: Call, key: VersionKey) -> Summary:
    project, asset = owners_of(call.site.registry, key)
    if not is_asset_owner(call.user, call.site.admins, project, asset):
        raise Forbidden(
            f"user {quoted(call.user)} is not allowed to approve {quoted(key.path)}",
            hint="Only owners of the project or the asset are.",
        )
    summary = call.site.registry.summary(key)
    if not summary.on_probation:
        raise Refused(f"version {quoted(key.path)} is not on probation")
    return summary


def _prepare(call: Call, job: Job, key: VersionKey, summary: Summary) -> Journal:
    journal = Journal(call.site.registry, job, marked=True)
    journal.write("summary", encode(replace(summary, on_probation=False)), key.summary)
    # Among versions that finished within one second, this time tells the order.
    published = os.stat(call.site.registry.path(key.summary)).st_mtime_ns
    with at(journal.inside("summary")):
        os.utime(journal.inside("summary"), ns=(published, published))
    journal.record(
        Intent(moves=[], project=key.project, asset=key.asset, version=key.version, latest=True)
    )
    prepare_log(job, version_entry("add-version", key, latest=True))
    return journal


def _commit(call: Call, job: Job, key: VersionKey, summary: Summary, journal: Journal) -> None:
    registry = call.site.registry
    published = os.stat(journal.inside("summary")).st_mtime_ns
    if becomes_latest(registry, key, finish_order(summary, published)):
        journal.write("latest", encode(Latest(key.version)), key.of_asset.latest)
    else:
        prepare_log(job, version_entry("add-version", key, latest=False), flush=True)
    journal.commit(then=lambda: publish_log(registry, job))
