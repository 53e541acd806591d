"""Records derived from the versions: the usage of a project, the latest version of an asset."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from contextlib import suppress

from gobbler.errors import Code, GobblerError, Missing, quoted
from gobbler.fs.atomic_write import replace
from gobbler.model.names import AssetKey, VersionKey, project_usage
from gobbler.model.records import Latest, Summary, Usage, encode, parse_time
from gobbler.registry.locks import changing_project, changing_usage
from gobbler.registry.registry import Registry
from gobbler.registry.workspace import Workspace
from gobbler.rules.links import usage_of

logger = logging.getLogger(__name__)


def count_usage(registry: Registry, project: str, *, without: Collection[VersionKey] = ()) -> int:
    """The bytes of all versions of a project, by their manifests.

    A directory without a manifest is no version: another service may have left it.
    """
    return sum(
        usage_of(registry.manifest(key))
        for key in registry.fingerprints(project)
        if key not in without
    )


def finish_time(registry: Registry, key: VersionKey) -> tuple[int, int] | None:
    """The time at which a version finished, for comparison; ``None`` on probation.

    The seconds since the epoch in its summary; then, for versions that finished within one second,
    the time of publication in ns, which is the mtime of the summary.
    """
    summary, published = registry.summary_with_time(key)
    return None if summary.on_probation else finish_order(summary, published)


def finish_order(summary: Summary, published: int) -> tuple[int, int]:
    """The sort key of a finished version; ``published`` is in ns."""
    moment = parse_time(summary.upload_finish)
    return 0 if moment is None else int(moment.timestamp()), published


def find_latest(
    registry: Registry,
    asset: AssetKey,
    *,
    without: VersionKey | None = None,
    skip_damaged: bool = False,
) -> VersionKey | None:
    """The version of an asset that finished last, without those on probation.

    A directory without a summary is no version: another service may have left it. With
    ``skip_damaged``, neither is one whose summary can't be read: the log names it.
    """
    finished: dict[VersionKey, tuple[int, int]] = {}
    for key in registry.versions(asset):
        if key == without:
            continue
        try:
            time_of_this = finish_time(registry, key)
        except GobblerError as error:
            if not registry.has_record(key.summary):
                continue
            # Any other error may be gone the next time.
            if not skip_damaged or error.code is not Code.DAMAGED_RECORD:
                raise
            logger.warning("%s does not count for the latest version: %s", quoted(key.path), error)
            continue
        if time_of_this is not None:
            finished[key] = time_of_this
    return max(finished, key=lambda key: (finished[key], key.version), default=None)


CLOCK_TOLERANCE_SECONDS = 60.0
"""How far the clocks of two services may differ without a warning."""


def present_latest(registry: Registry, asset: AssetKey) -> tuple[int, int] | None:
    """The time at which the present latest version of an asset finished; ``None`` if none counts.

    Nothing that is wrong with other versions prevents a publication. A damaged record is computed
    again, and a time in the future counts as none: a clock was wrong, and newer versions would
    never become the latest. The log warns of both.
    """
    try:
        name = registry.latest(asset)
        if name is None:
            return None
        key, finish = asset.version(name), finish_time(registry, asset.version(name))
    except (GobblerError, OSError) as error:
        logger.warning("the record of the latest version of %s does not count: %s", asset, error)
        best = find_latest(registry, asset, skip_damaged=True)
        if best is None:
            return None
        key, finish = best, finish_time(registry, best)
    if finish is not None and finish[0] > time.time() + CLOCK_TOLERANCE_SECONDS:
        logger.warning(
            "the `upload_finish` of %s, the latest version, lies in the future: a clock was wrong. "
            "Newer versions become the latest all the same, but not when it is recomputed.",
            quoted(key.path),
        )
        return None
    return finish


def settled_latest(registry: Registry, asset: AssetKey) -> str | None:
    """The latest version of an asset, if its record is right as it is; else ``None``.

    Takes no lock: a record that is the same before and after the versions are read, and names the
    one that finished last, was right meanwhile. Raises what :func:`find_latest` does.
    """
    with suppress(Missing):
        recorded = registry.latest(asset)
        best = find_latest(registry, asset)
        if best is not None and best.version == recorded == registry.latest(asset):
            return recorded
    return None


def settled_usage(registry: Registry, project: str) -> int | None:
    """The usage of a project in bytes, if its record is right as it is; else ``None``.

    Takes no lock: nothing may change while the manifests are read. Raises what
    :func:`count_usage` does.
    """
    recorded = registry.usage(project)
    versions = registry.fingerprints(project)
    total = sum(usage_of(registry.manifest(key)) for key in versions)
    is_settled = registry.usage(project) == recorded and registry.fingerprints(project) == versions
    return total if is_settled and total == recorded.total else None


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


def update_latest(
    registry: Registry, workspace: Workspace, asset: AssetKey, *, skip_damaged: bool = False
) -> str | None:
    """Recompute the latest version of an asset, and record it; its name, if there is one.

    ``skip_damaged``: see :func:`find_latest`. The caller holds the asset's lock.
    """
    best = find_latest(registry, asset, skip_damaged=skip_damaged)
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
