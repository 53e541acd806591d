"""What a project and an asset keep about their versions: usage and the latest version."""

from __future__ import annotations

import os

from gobbler.disk.locks import locked
from gobbler.disk.writing import remove_quietly, replace
from gobbler.errors import GobblerError
from gobbler.names import LOCK_USAGE, AssetKey, VersionKey, project_usage
from gobbler.records import Latest, Usage, encode, parse_time
from gobbler.registry import Registry
from gobbler.rules.links import usage_of


def usage_lock(registry: Registry, project: str) -> str:
    """Path of the lock that guards a project's usage, held while a version appears."""
    return registry.path(f"{project}/{LOCK_USAGE}")


def count_usage(registry: Registry, project: str) -> int:
    """Bytes that all versions of a project take, by their manifests."""
    return sum(
        usage_of(registry.manifest(key))
        for asset in registry.assets(project)
        for key in registry.versions(asset)
    )


def finish_time(registry: Registry, key: VersionKey) -> tuple[float, int] | None:
    """When a version was finished, for comparing; ``None`` on probation.

    Seconds since the epoch as the summary tells them, then (they are whole seconds) the
    time in ns at which the summary was written.
    """
    summary = registry.summary(key)
    if summary.on_probation:
        return None
    moment = parse_time(summary.upload_finish)
    seconds = moment.timestamp() if moment is not None else 0.0
    return seconds, os.stat(registry.path(key.summary)).st_mtime_ns


def find_latest(registry: Registry, asset: AssetKey) -> VersionKey | None:
    """The version of an asset that finished last and is not on probation."""
    times = {key: finish_time(registry, key) for key in registry.versions(asset)}
    finished = {key: time for key, time in times.items() if time is not None}
    return max(finished, key=lambda key: (*finished[key], key.version), default=None)


def becomes_latest(registry: Registry, key: VersionKey, finish: str) -> bool:
    """Whether ``key``, about to be published, will be its asset's latest version.

    ``finish`` is its ``upload_finish``. Of two that finished within one second, the one
    that is published later is the latest. The caller holds the asset's lock.
    """
    moment = parse_time(finish)
    try:
        present = registry.latest(key.of_asset)
        theirs = finish_time(registry, key.of_asset.version(present)) if present else None
    except GobblerError:
        best = find_latest(registry, key.of_asset)
        theirs = None if best is None else finish_time(registry, best)
    return theirs is None or moment is None or int(moment.timestamp()) >= int(theirs[0])


def recount(registry: Registry, project: str) -> int:
    """Count the usage of a project anew and record it; bytes."""
    with locked(usage_lock(registry, project), exclusive=True):
        total = count_usage(registry, project)
        replace(registry.path(project_usage(project)), encode(Usage(total)), flush=False)
    return total


def redecide_latest(registry: Registry, asset: AssetKey) -> str | None:
    """Find an asset's latest version anew and record it; its name, if there is one.

    The caller holds the asset's lock.
    """
    best = find_latest(registry, asset)
    if best is None:
        remove_quietly(registry.path(asset.latest))
        return None
    replace(registry.path(asset.latest), encode(Latest(best.version)), flush=False)
    return best.version
