"""Records derived from the versions: the usage of a project, the latest version of an asset."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from gobbler.errors import GobblerError
from gobbler.fs.atomic_write import replace
from gobbler.model.names import AssetKey, VersionKey, project_usage
from gobbler.model.records import Latest, Summary, Usage, encode, parse_time
from gobbler.registry.locks import changing_project, changing_usage
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import usage_of


def count_usage(registry: Registry, project: str, *, without: Collection[VersionKey] = ()) -> int:
    """The bytes of all versions of a project, by their manifests.

    A directory without a manifest is no version: another service may have left it.
    """
    return sum(
        usage_of(registry.manifest(key))
        for asset in registry.assets(project)
        for key in registry.versions(asset)
        if key not in without and registry.has(key.manifest)
    )


def finish_time(registry: Registry, key: VersionKey) -> tuple[int, int] | None:
    """The time at which a version finished, for comparison; ``None`` on probation.

    The seconds since the epoch in its summary; then, for versions that finished within one second,
    the time of publication in ns, which is the mtime of the summary.
    """
    summary = registry.summary(key)
    if summary.on_probation:
        return None
    return finish_order(summary, os.stat(registry.path(key.summary)).st_mtime_ns)


def finish_order(summary: Summary, published: int) -> tuple[int, int]:
    """The sort key of a finished version; ``published`` is in ns."""
    moment = parse_time(summary.upload_finish)
    return 0 if moment is None else int(moment.timestamp()), published


def find_latest(
    registry: Registry, asset: AssetKey, *, without: VersionKey | None = None
) -> VersionKey | None:
    """The version of an asset that finished last, without those on probation.

    A directory without a summary is no version: another service may have left it.
    """
    times = {
        key: finish_time(registry, key)
        for key in registry.versions(asset)
        if key != without and registry.has(key.summary)
    }
    finished = {key: time for key, time in times.items() if time is not None}
    return max(finished, key=lambda key: (finished[key], key.version), default=None)


def becomes_latest(registry: Registry, key: VersionKey, finish: tuple[int, int]) -> bool:
    """Whether ``key``, about to be published, will be its asset's latest version.

    ``finish`` is its :func:`finish_order`. The caller holds the asset's lock.
    """
    try:
        present = registry.latest(key.of_asset)
        theirs = finish_time(registry, key.of_asset.version(present)) if present else None
    except GobblerError:
        best = find_latest(registry, key.of_asset)
        theirs = None if best is None else finish_time(registry, best)
    return theirs is None or finish >= theirs


def update_usage(registry: Registry, workspace: Workspace, project: str) -> int:
    """Recompute the usage of a project in bytes, and record it.

    Locks the project, as other services change manifests and usage in two steps. Raises
    :class:`~gobbler.errors.Missing` if there is no such project.
    """
    with changing_project(registry, project), changing_usage(registry, project):
        total = count_usage(registry, project)
        path = registry.path(project_usage(project))
        replace(path, encode(Usage(total)), flush=True, workspace=workspace.path)
    return total


def update_latest(registry: Registry, workspace: Workspace, asset: AssetKey) -> str | None:
    """Recompute the latest version of an asset, and record it; its name, if there is one.

    The caller holds the asset's lock.
    """
    best = find_latest(registry, asset)
    if best is None:
        with suppress(FileNotFoundError):
            os.unlink(registry.path(asset.latest))
        return None
    replace(
        registry.path(asset.latest),
        encode(Latest(best.version)),
        flush=True,
        workspace=workspace.path,
    )
    return best.version
