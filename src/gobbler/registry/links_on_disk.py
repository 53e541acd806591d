"""The versions that a version links to, by its symbolic links and ``..links`` on disk.

They tell what depends on what where a manifest is damaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from gobbler.errors import GobblerError
from gobbler.fs.os_errors import with_path
from gobbler.model.names import LINKS, VersionKey, is_internal, split_path
from gobbler.registry.foreign import skip
from gobbler.registry.registry import Registry
from gobbler.rules.links import absolute_target, below


def versions_linked_on_disk(registry: Registry, key: VersionKey) -> set[VersionKey]:
    """The versions, others than ``key``, that its links lead to or name as a parent."""
    found: set[VersionKey] = set()
    for directory, links in _directories_with_links(registry, key):
        for text in links:
            target = below(absolute_target(registry.path(directory), text), registry.root)
            place = None if target is None else split_path(target)
            if place is not None:
                found.add(place[0])
        try:
            recorded = registry.links(f"{directory}/{LINKS}")
        except GobblerError:
            continue  # the links themselves are there
        for link in recorded.values():
            found |= {link.key, link.end.key}
    return found - {key}


def _directories_with_links(registry: Registry, key: VersionKey) -> Iterator[tuple[str, list[str]]]:
    """Each directory of the version that has symbolic links, and their texts."""
    pending = [key.path]
    while pending:
        directory = pending.pop()
        path = registry.path(directory)
        links = []
        try:
            with with_path(path), os.scandir(path) as entries:
                for entry in entries:
                    if is_internal(entry.name):
                        continue
                    if entry.is_symlink():
                        links.append(os.readlink(entry.path))
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append(f"{directory}/{entry.name}")
        except FileNotFoundError:
            continue  # just removed
        except OSError as error:
            skip(path, error)
        if links:
            yield directory, links
