"""Prune a cache: remove what is damaged, or was not used for a long time.

Everything is renamed out of sight before it is removed, so that it is there whole or not at all.
Programs that have a file open keep it; those that go by its path must fetch it again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gobbler.client.cache.entries import CacheEntry, entries, files_below, services
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import partials, recover, scratch_directory

_Inode = tuple[int, int]


@dataclass(frozen=True)
class PruneResult:
    """What was removed, or would be: ``entries``, and the number of bytes freed.

    ``leftovers`` counts files that belong to no entry: parts of interrupted downloads, and
    files that were kept for the next.
    """

    entries: list[CacheEntry]
    leftovers: int
    freed: int


def prune(cache: str, older_than: float, *, dry_run: bool = False) -> PruneResult:
    """Remove from the directory ``cache`` what was not used for ``older_than`` seconds.

    With ``dry_run`` nothing is removed.
    """
    before = time.time() - older_than
    old = [entry for entry in entries(cache) if entry.used <= before]
    return remove(cache, old, before, dry_run=dry_run)


def remove(
    cache: str, doomed: Iterable[CacheEntry], before: float = 0.0, *, dry_run: bool = False
) -> PruneResult:
    """Remove the entries ``doomed`` from the directory ``cache``.

    Also removes what belongs to no entry and was not changed since ``before`` (seconds since
    1970). With ``dry_run`` nothing is removed.
    """
    listed = list(doomed)
    leftovers = freed = 0
    for root in services(cache):
        of_service = [entry for entry in listed if Path(entry.whole).is_relative_to(root)]
        if not dry_run:
            recover(root)
        names = _names(file for entry in of_service for file in _files(entry))
        objects = _doomed_objects(root, names, before)
        for path in objects:
            _count(names, os.stat(path, follow_symlinks=False))
        freed += sum(size for links, size, seen in names.values() if links <= seen)
        parts = [part for part in partials(root) if part.stat().st_mtime <= before]
        freed += sum(file.stat().st_size for part in parts for file in files_below(part))
        leftovers += len(parts) + sum(_is_single(path) for path in objects)
        if not dry_run:
            _remove(root, of_service, objects, parts)
    return PruneResult(listed, leftovers, freed)


def _files(entry: CacheEntry) -> Iterable[os.stat_result]:
    with contextlib.suppress(FileNotFoundError):
        if not entry.is_directory:
            yield os.stat(entry.whole, follow_symlinks=False)
    for file in files_below(entry.whole) if entry.is_directory else ():
        with contextlib.suppress(FileNotFoundError):
            yield file.stat(follow_symlinks=False)


def _names(files: Iterable[os.stat_result]) -> dict[_Inode, tuple[int, int, int]]:
    """For each file: how many names it has, its size, and how many of the names are removed."""
    found: dict[_Inode, tuple[int, int, int]] = {}
    for status in files:
        _count(found, status)
    return found


def _count(found: dict[_Inode, tuple[int, int, int]], status: os.stat_result) -> None:
    inode = (status.st_dev, status.st_ino)
    _, _, seen = found.get(inode, (0, 0, 0))
    found[inode] = (status.st_nlink, status.st_size, seen + 1)


def _doomed_objects(
    root: Path, names: dict[_Inode, tuple[int, int, int]], before: float
) -> list[str]:
    """The objects that have no other name, or have none once ``names`` are removed."""
    found = []
    for entry in Objects(root):
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            _, _, seen = names.get((status.st_dev, status.st_ino), (0, 0, 0))
            is_single = status.st_nlink - seen <= 1
            if is_single and (seen or status.st_ctime <= before):
                found.append(entry.path)
    return found


def _is_single(path: str) -> bool:
    return os.stat(path, follow_symlinks=False).st_nlink == 1


def _remove(root: Path, doomed: list[CacheEntry], objects: list[str], parts: list[Path]) -> None:
    with scratch_directory(root) as scratch:
        for number, path in enumerate((*(Path(entry.whole) for entry in doomed), *parts)):
            with contextlib.suppress(FileNotFoundError):
                path.rename(scratch.path / f"old-{number}")
        for entry in doomed:
            if not entry.is_directory:
                _remove_empty(Path(entry.whole).parent, root / "files")
        for name in objects:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _remove_empty(directory: Path, top: Path) -> None:
    """Remove a directory and its parents below ``top``, as long as they are empty."""
    with contextlib.suppress(OSError):
        while directory != top:
            directory.rmdir()
            directory = directory.parent
