"""How versions belong together: by links from one to another, and by content they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest

Content = tuple[int, str]
"""What is in a file: its size in bytes, and its MD5."""


def versions_linked(manifest: Manifest) -> set[VersionKey]:
    """The versions that links of ``manifest`` name, be it as parent or as ancestor."""
    found = set()
    for entry in manifest.values():
        if (link := entry.link) is not None:
            found.add((link.project, link.asset, link.version))
            if (end := link.ancestor) is not None:
                found.add((end.project, end.asset, end.version))
    return {VersionKey(*names) for names in found}


def contents_of(manifest: Manifest) -> dict[Content, bool]:
    """The contents of the files of ``manifest``; whether it is links alone that have each."""
    found: dict[Content, bool] = {}
    for entry in manifest.values():
        if not entry.is_directory:
            content = (entry.size, entry.md5sum)
            found[content] = entry.link is not None and found.get(content, True)
    return found


def shared(own: Collection[Content], key: VersionKey, other: Mapping[Content, bool]) -> Shared:
    """What the version ``key`` with the contents ``other`` has of ``own``."""
    files = size = stored = 0
    for content in own:
        linked = other.get(content)
        if linked is not None and content[0] > 0:
            files += 1
            size += content[0]
            stored += 0 if linked else content[0]
    return Shared(key.path, files, size, stored)
