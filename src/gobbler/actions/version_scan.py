"""The scan of a published version as it is on disk, for reindexing and validating."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from gobbler.actions.context import RequestContext
from gobbler.errors import Fault, Missing
from gobbler.fs.open import closing, open_directory
from gobbler.fs.os_errors import with_path
from gobbler.fs.record_file import read_file
from gobbler.model.names import LINKS, VersionKey
from gobbler.model.records import Link, Links, decode
from gobbler.registry.registry import Registry
from gobbler.rules.links import InRegistry, InSource, Locator, Places, Target
from gobbler.rules.readers import Readers
from gobbler.rules.upload_plan import PublishedVersion, Scan
from gobbler.transfer.scan import longest_path, real_path, scan


@dataclass(frozen=True)
class VersionScan:
    """A version on disk: its entries, and the ``..links`` of each directory.

    ``damaged``: the problem with each unreadable ``..links``, by directory.
    """

    scan: Scan
    links: dict[str, Links]
    damaged: dict[str, str]


def scan_version(context: RequestContext, key: VersionKey) -> VersionScan:
    """Scan the version ``key`` and read its ``..links``."""
    registry = context.service.registry
    top = registry.path(key.path)
    with with_path(top), closing(open_directory(top)) as directory:
        found = scan(
            directory,
            ignore_dot=False,
            owner=None,
            cancel=context.cancel,
            longest=longest_path(top),
            width=context.service.width,
        )
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
    return VersionScan(found, links, damaged)


def links_file(directory: str) -> str:
    """Path of the ``..links`` of a ``directory`` of a version, relative to the version."""
    return f"{directory}/{LINKS}" if directory else LINKS


def targets_of(context: RequestContext, key: VersionKey, found: VersionScan) -> dict[str, Target]:
    """The target of each symbolic link. A link that is in ``..links`` keeps its parent."""
    registry = context.service.registry
    top = f"{os.path.realpath(registry.root)}/{key.path}"
    locator = Locator(places_of(context, key), top, found.scan.directories, real_path)
    targets: dict[str, Target] = {}
    for path, text in found.scan.symlinks.items():
        directory, _, name = path.rpartition("/")
        target = locator(directory, text)
        link = found.links.get(directory, {}).get(name)
        if link is not None and _place(key, target) == (link.end.key, link.end.path):
            same = link.key == key
            target = InSource(link.path) if same else InRegistry(link.key, link.path)
        targets[path] = target
    return targets


def _place(key: VersionKey, target: Target) -> tuple[VersionKey, str] | None:
    """The file of a version that a link of the version ``key`` leads to."""
    if isinstance(target, InSource):
        return key, target.path
    return (target.key, target.path) if isinstance(target, InRegistry) else None


def places_of(context: RequestContext, key: VersionKey) -> Places:
    """The directories to which a link of the version ``key`` may lead."""
    root = context.service.registry.root
    real = os.path.realpath(root)
    return Places(
        source=(f"{real}/{key.path}", f"{root}/{key.path}"),
        registry=(root, real),
        whitelist=context.service.whitelist,
    )


def published_versions(
    registry: Registry, keys: Iterable[VersionKey], *, into: VersionKey | None = None
) -> dict[VersionKey, PublishedVersion | None]:
    """The published versions ``keys``; ``None`` for one that does not exist.

    ``into``: the new version that links to them, which more users may read than some of them.
    """
    readers = None if into is None else _readers(registry, into)
    return {key: _published(registry, key, readers) for key in keys}


def _published(
    registry: Registry, key: VersionKey, readers: Readers | None
) -> PublishedVersion | None:
    try:
        return PublishedVersion(
            registry.manifest(key),
            registry.summary(key).on_probation,
            is_restricted=readers is not None and not _readers(registry, key).include(readers),
        )
    except Missing:
        return None


def _readers(registry: Registry, key: VersionKey) -> Readers:
    """Who may enter all directories on the way to a version that exist."""
    found = Readers()
    for directory in (key.project, key.of_asset.path, key.path):
        try:
            status = os.stat(registry.path(directory))
        except (FileNotFoundError, NotADirectoryError):
            break
        found = found.within(status.st_mode, status.st_gid)
    return found
