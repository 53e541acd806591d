"""``validate_version``: is a version what its records say? Changes nothing."""

from __future__ import annotations

import os
from contextlib import suppress

from gobbler.actions.inspecting import Found, look_at, places_of
from gobbler.actions.site import Call
from gobbler.actions.versions import check_admin, existing_version
from gobbler.disk.writing import DIRECTORY_MODE
from gobbler.errors import GobblerError, Missing, Refused, quoted
from gobbler.names import VersionKey
from gobbler.records import Link, Manifest
from gobbler.registry import Registry
from gobbler.requests import OfVersion
from gobbler.rules.comparison import Version, problems_of, summary_problems
from gobbler.rules.links import InWhitelist, Locator
from gobbler.rules.planning import MAX_PROBLEMS_TOLD
from gobbler.transfer.build import hash_files, hash_listed


def validate_version(call: Call, request: OfVersion) -> dict[str, object]:
    """Raise :class:`~gobbler.errors.Refused` that tells all that is wrong, if anything.

    Its reason names the first few problems and their number; the field ``problems``
    lists them all.
    """
    key = VersionKey.checked(request.project, request.asset, request.version)
    check_admin(call, "validate a version")
    existing_version(call.site.registry, request)
    problems = _problems(call, key)
    if not problems:
        return {}
    first = "; ".join(problems[:MAX_PROBLEMS_TOLD])
    more = len(problems) - MAX_PROBLEMS_TOLD
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise Refused(
        f"version {quoted(key.path)} has {count}: {first}"
        + (f"; and {more} more" if more > 0 else ""),
        fields={"problems": problems},
    )


def _problems(call: Call, key: VersionKey) -> list[str]:
    registry = call.site.registry
    problems: list[str] = []
    try:
        problems += summary_problems(registry.summary(key))
    except GobblerError as error:
        problems.append(error.reason)
    found = look_at(call, key)
    problems += found.damaged.values()
    try:
        manifest = registry.manifest(key)
    except GobblerError as error:
        return [*problems, error.reason]
    linked, unreadable = _linked(registry, key, manifest)
    hashes, unhashed = _hashes(call, key, found)
    places = places_of(call, key)
    at = registry.path(key.path)
    links = {**found.links, **dict.fromkeys(found.damaged)}
    gone = _gone(call, manifest)
    version = Version(key, at, found.scan, hashes, links, linked, gone)
    return [*problems, *unreadable, *unhashed, *problems_of(version, manifest, places)]


def _linked(
    registry: Registry, key: VersionKey, manifest: Manifest
) -> tuple[dict[VersionKey, Manifest | None], list[str]]:
    """The manifests of the versions that are linked to, and what can't be read of them."""
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


def _gone(call: Call, manifest: Manifest) -> set[Link]:
    """The files that links lead to and that are not on disk, each directory being listed once."""
    ends = {entry.link.end for entry in manifest.values() if entry.link is not None}
    wanted: dict[str, dict[str, Link]] = {}
    for end in ends:
        directory, _, name = call.site.registry.path(end.key.file(end.path)).rpartition("/")
        wanted.setdefault(directory, {})[name] = end
    gone: set[Link] = set()
    for directory, files in wanted.items():
        call.watcher.check()
        there: set[str] = set()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
            # One that is a link leads out of the registry, which its own version tells of.
            there = {entry.name for entry in entries}
        gone.update(end for name, end in files.items() if name not in there)
    return gone


def _hashes(
    call: Call, key: VersionKey, found: Found
) -> tuple[dict[str, tuple[int, str]], list[str]]:
    registry = call.site.registry
    shop = call.site.workshop
    hashes: dict[str, tuple[int, str]] = {}
    problems: list[str] = []
    with call.new_job() as job:
        os.mkdir(job.tree, DIRECTORY_MODE)
        root = registry.path(key.path)
        for hashed in (
            *hash_files(shop, job, root, found.scan.files, watcher=call.watcher),
            *hash_listed(shop, job, _whitelisted(call, key, found), watcher=call.watcher),
        ):
            if hashed.problem:
                problems.append(f"{quoted(hashed.path)} {hashed.problem}")
            else:
                hashes[hashed.path] = hashed.size, hashed.md5sum
    return hashes, problems


def _whitelisted(call: Call, key: VersionKey, found: Found) -> dict[str, InWhitelist]:
    locator = Locator(places_of(call, key))
    root = call.site.registry.path(key.path)
    located = {
        path: locator(os.path.dirname(f"{root}/{path}"), text)
        for path, text in found.scan.symlinks.items()
    }
    return {path: where for path, where in located.items() if isinstance(where, InWhitelist)}
