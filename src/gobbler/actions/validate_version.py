"""``validate_version``: compares a version with its records, and changes nothing."""

from __future__ import annotations

import os
from contextlib import suppress

from gobbler.actions.context import RequestContext, check_admin, existing_version
from gobbler.actions.version_scan import VersionScan, places_of, scan_version
from gobbler.errors import Code, GobblerError, Missing, Refused, quoted
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.model.names import VersionKey
from gobbler.model.records import Link, Manifest
from gobbler.model.requests import OfVersion
from gobbler.registry.registry import Registry
from gobbler.rules.comparison import ScannedVersion, problems_of, summary_problems
from gobbler.rules.links import InWhitelist, absolute_target, locate
from gobbler.rules.upload_plan import MAX_PROBLEMS_SHOWN
from gobbler.transfer.hash_files import hash_files, hash_listed

MAX_PROBLEMS_LISTED = 10_000
"""Largest number of problems in an answer; the reason gives the number of all."""


def validate_version(context: RequestContext, request: OfVersion) -> dict[str, object]:
    """Raise :class:`~gobbler.errors.Refused` if the version is not what its records say.

    Its reason names the first few problems and their number; the field ``problems``
    lists more of them.
    """
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(context, "validate a version")
    existing_version(context.service.registry, request)
    problems, code = _problems(context, key)
    if not problems:
        return {}
    first = "; ".join(problems[:MAX_PROBLEMS_SHOWN])
    more = len(problems) - MAX_PROBLEMS_SHOWN
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise Refused(
        f"version {quoted(key.path)} has {count}: {first}"
        + (f"; and {more} more" if more > 0 else ""),
        code=code,
        fields={"problems": problems[:MAX_PROBLEMS_LISTED]},
    )


def _problems(context: RequestContext, key: VersionKey) -> tuple[list[str], Code]:
    """All problems, and their code: damaged records if reindexing can repair all of them."""
    registry = context.service.registry
    problems_of_summary: list[str] = []
    try:
        problems_of_summary += summary_problems(registry.summary(key))
    except GobblerError as error:
        problems_of_summary.append(error.reason)
    found = scan_version(context, key)
    problems = [*problems_of_summary, *found.damaged.values()]
    try:
        manifest = registry.manifest(key)
    except GobblerError as error:
        is_damaged = not problems_of_summary and error.code is Code.DAMAGED_RECORD
        code = Code.DAMAGED_RECORD if is_damaged else Code.INVALID_VERSION
        return [*problems, error.reason], code
    linked, unreadable = _linked(registry, key, manifest)
    hashes, unhashed = _hashes(context, key, found)
    places = places_of(context, key)
    with_path = registry.path(key.path)
    links = {**found.links, **dict.fromkeys(found.damaged)}
    gone = _gone(context, manifest)
    version = ScannedVersion(key, with_path, found.scan, hashes, links, linked, gone)
    others = [*unreadable, *unhashed, *problems_of(version, manifest, places)]
    is_damaged = bool(found.damaged) and not problems_of_summary and not others
    code = Code.DAMAGED_RECORD if is_damaged else Code.INVALID_VERSION
    return [*problems, *others], code


def _linked(
    registry: Registry, key: VersionKey, manifest: Manifest
) -> tuple[dict[VersionKey, Manifest | None], list[str]]:
    """The manifests of the versions that are linked to, and the problems with unreadable ones."""
    found: dict[VersionKey, Manifest | None] = {key: manifest}
    problems: list[str] = []
    for entry in manifest.values():
        if entry.link is None:
            continue
        for linked in (entry.link.key, entry.link.end.key):
            if linked in found:
                continue
            try:
                found[linked] = registry.manifest(linked)
            except Missing:
                found[linked] = None
            except GobblerError as error:
                found[linked] = None
                problems.append(error.reason)
    return found, problems


def _gone(context: RequestContext, manifest: Manifest) -> set[Link]:
    """The targets of links that are not on disk; each directory is listed once."""
    ends = {entry.link.end for entry in manifest.values() if entry.link is not None}
    wanted: dict[str, dict[str, Link]] = {}
    for end in ends:
        directory, _, name = context.service.registry.path(end.key.file(end.path)).rpartition("/")
        wanted.setdefault(directory, {})[name] = end
    gone: set[Link] = set()
    for directory, files in wanted.items():
        context.cancel.check()
        there: set[str] = set()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
            # A target that is itself a link is a problem of its own version.
            there = {entry.name for entry in entries}
        gone.update(end for name, end in files.items() if name not in there)
    return gone


def _hashes(
    context: RequestContext, key: VersionKey, found: VersionScan
) -> tuple[dict[str, tuple[int, str]], list[str]]:
    registry = context.service.registry
    hashes: dict[str, tuple[int, str]] = {}
    problems: list[str] = []
    with context.new_workspace() as workspace:
        os.mkdir(workspace.tree, DIRECTORY_MODE)
        dispatcher = context.dispatcher(workspace)
        root = registry.path(key.path)
        for hashed in (
            *hash_files(dispatcher, root, found.scan.files),
            *hash_listed(dispatcher, _whitelisted(context, key, found), public=False),
        ):
            if hashed.problem:
                problems.append(f"{quoted(hashed.path)} {hashed.problem}")
            else:
                hashes[hashed.path] = hashed.size, hashed.md5sum
    return hashes, problems


def _whitelisted(
    context: RequestContext, key: VersionKey, found: VersionScan
) -> dict[str, InWhitelist]:
    places, root = places_of(context, key), context.service.registry.path(key.path)
    located = {
        path: locate(absolute_target(os.path.dirname(f"{root}/{path}"), text), places)
        for path, text in found.scan.symlinks.items()
    }
    return {path: where for path, where in located.items() if isinstance(where, InWhitelist)}
