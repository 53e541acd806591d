"""Looking at a published version as it is on disk, for reindexing and validating."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from gobbler.actions.site import Call
from gobbler.disk.opening import closing, open_directory, read_file
from gobbler.errors import Fault, Missing
from gobbler.names import LINKS, VersionKey
from gobbler.records import Link, Links, decode
from gobbler.registry import Registry
from gobbler.rules.links import InRegistry, InSource, Places, Target, absolute_target, locate
from gobbler.rules.links import symlink_text as text_of
from gobbler.rules.planning import PublishedVersion, Scan
from gobbler.transfer.scan import scan


@dataclass(frozen=True)
class Found:
    """What is on disk: the entries, and the ``..links`` of each directory.

    ``damaged``: what is wrong with each ``..links`` that can't be read, by directory.
    """

    scan: Scan
    links: dict[str, Links]
    damaged: dict[str, str]


def look_at(call: Call, key: VersionKey) -> Found:
    """Scan the version ``key`` and read its ``..links``."""
    registry = call.site.registry
    with closing(open_directory(registry.path(key.path))) as directory:
        found = scan(directory, ignore_dot=False, owner=None, check=call.watcher.check)
    links: dict[str, Links] = {}
    damaged: dict[str, str] = {}
    for directory_path in ("", *found.directories):
        where = key.file(links_file(directory_path))
        try:
            links[directory_path] = decode(
                read_file(registry.path(where), where), dict[str, Link], where
            )
        except Missing:
            continue
        except Fault as error:
            damaged[directory_path] = error.reason
    return Found(found, links, damaged)


def links_file(directory: str) -> str:
    """Path of the ``..links`` of a ``directory`` of a version, relative to the version."""
    return f"{directory}/{LINKS}" if directory else LINKS


def targets_of(call: Call, key: VersionKey, found: Found) -> dict[str, Target]:
    """Where each symbolic link leads. One that ``..links`` explains keeps its parent."""
    registry = call.site.registry
    places = places_of(call, key)
    targets: dict[str, Target] = {}
    for path, text in found.scan.symlinks.items():
        directory, _, name = path.rpartition("/")
        link = found.links.get(directory, {}).get(name)
        if link is not None and text == text_of(key, path, link):
            same = link.key == key
            targets[path] = InSource(link.path) if same else InRegistry(link.key, link.path)
        else:
            at = os.path.join(os.path.realpath(registry.root), key.path, directory)
            targets[path] = locate(absolute_target(at, text), places)
    return targets


def places_of(call: Call, key: VersionKey) -> Places:
    """The directories to which a link of the version ``key`` may lead."""
    root = call.site.registry.root
    real = os.path.realpath(root)
    return Places(
        source=(f"{real}/{key.path}", f"{root}/{key.path}"),
        registry=(root, real),
        whitelist=call.site.whitelist,
    )


def published_versions(
    registry: Registry, keys: Iterable[VersionKey]
) -> dict[VersionKey, PublishedVersion | None]:
    """What is known of each of ``keys``; ``None`` for one that does not exist."""
    return {key: _published(registry, key) for key in keys}


def _published(registry: Registry, key: VersionKey) -> PublishedVersion | None:
    try:
        return PublishedVersion(registry.manifest(key), registry.summary(key).on_probation)
    except Missing:
        return None
