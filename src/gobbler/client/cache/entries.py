"""The entries of a cache: list them, verify them, and prune what is damaged or unused.

All of this reads the directory alone, for every service whose files are in it, and asks no
service. Pruning renames an entry out of sight before it removes it, so that an entry is there
whole or not at all. Programs that have a file open keep it; those that go by its path must fetch
it again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

from gobbler.client.address import digest
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import partials, recover, scratch_directory
from gobbler.client.cache.records import sidecar
from gobbler.client.cache.user_directory import is_own_directory, user_directories
from gobbler.client.expected import NOTHING, Expected, decoded, file_problem, version_of
from gobbler.client.parallel import Stop
from gobbler.errors import Fault
from gobbler.model.names import MANIFEST, VersionKey, has_internal
from gobbler.model.records import Entry

_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class CacheEntry:
    """A file or a directory that was fetched.

    Attributes:
        service: The URL of its service.
        root: The path on this machine of what was fetched from that service.
        path: Its path in the registry; empty if that is unknown.
        place: Its path on this machine.
        whole: The path on this machine that is removed with it.
        is_directory: Whether it is a directory.
        files: The number of its files.
        size: The sum of their sizes in bytes; some may share their space with others.
        used: When it was used last, in seconds since 1970.
    """

    service: str
    root: str
    path: str
    place: str
    whole: str
    is_directory: bool
    files: int
    size: int
    used: float


@dataclass(frozen=True)
class Damage:
    """A ``file`` in a cache that is not as it was fetched, and its ``problem``."""

    entry: CacheEntry
    file: str
    problem: str


def services(cache: str) -> list[Path]:
    """The parts of the directory ``cache`` that are the user's, one for each service."""
    found = [
        path
        for directory in user_directories(cache)
        for path in _inside(Path(directory))
        if _is_service(path)
    ]
    return sorted(found)


def _is_service(path: Path) -> bool:
    # The directory may hold other things, too, and others may have put something there.
    return is_own_directory(str(path)) and any(
        is_own_directory(f"{path}/{name}") for name in ("files", "trees", "temp")
    )


def entries(cache: str) -> list[CacheEntry]:
    """Everything that was fetched into the directory ``cache``, by service and path."""
    found = [
        entry
        for root in services(cache)
        for entry in (*_trees(root, _service(root)), *_files(root, _service(root)))
    ]
    return sorted(found, key=lambda entry: (entry.service, entry.path, not entry.is_directory))


def _service(root: Path) -> str:
    return unquote_plus(root.name)


def _trees(root: Path, service: str) -> Iterator[CacheEntry]:
    for tree in _inside(root / "trees"):
        with contextlib.suppress(FileNotFoundError):  # pruned by another process
            path = _path_of(tree) or ""
            place = str(tree / path)
            sizes = [file.stat(follow_symlinks=False).st_size for file in files_below(place)]
            used = tree.stat().st_mtime
            yield CacheEntry(
                service, str(root), path, place, str(tree), True, len(sizes), sum(sizes), used
            )


def _path_of(tree: Path) -> str | None:
    """The path in the registry that this is a tree of: the one with that digest."""
    path = ""
    while True:
        deeper = [each.name for each in _inside(tree / path) if each.is_dir()]
        for name in deeper:
            if digest(f"{path}/{name}".lstrip("/")) == tree.name:
                return f"{path}/{name}".lstrip("/")
        if len(deeper) != 1:
            return None
        path = f"{path}/{deeper[0]}".lstrip("/")


def _files(root: Path, service: str) -> Iterator[CacheEntry]:
    top = root / "files"
    for file in files_below(top):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat(follow_symlinks=False)
            path = os.path.relpath(file.path, top)
            used = max(status.st_atime, status.st_mtime)
            yield CacheEntry(
                service, str(root), path, file.path, file.path, False, 1, status.st_size, used
            )


def files_below(top: str | Path) -> Iterator[os.DirEntry[str]]:
    """All files below ``top``; none if it is not there."""
    waiting = [str(top)]
    while waiting:
        entries: list[os.DirEntry[str]] = []  # a caller may stop halfway, and keep nothing open
        with contextlib.suppress(*_GONE), os.scandir(waiting.pop()) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield entry


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (*_GONE, PermissionError):  # others may have closed a directory to this user
        return []


class Verifier:
    """Compares the files of a cache with the manifests that were fetched with them.

    A file that has several names is read once.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], str | None] = {}

    def damage(self, entry: CacheEntry) -> Iterator[Damage]:
        """Read every file of ``entry``, and yield each that is damaged.

        Skips files that are in no manifest. An entry that is removed meanwhile is not damaged.
        """
        for file, problem in self._problems(entry):
            if os.path.lexists(entry.whole):
                yield Damage(entry, file, problem)

    def _problems(self, entry: CacheEntry) -> Iterator[tuple[str, str]]:
        if not entry.path:
            yield entry.place, "it does not show which directory of the registry it is a copy of"
            return
        if not entry.is_directory and has_internal(entry.path):
            problem = _record_problem(entry.place)
            if problem is not None:
                yield entry.place, problem
            return
        try:
            known = _known(entry)
        except Fault as error:
            if entry.is_directory:  # else the manifest is an entry of its own
                yield f"{entry.whole}/{MANIFEST}", error.reason
            return
        if not entry.is_directory:
            wanted = known.entry(entry.path)
            files = {} if wanted is None else {entry.place: wanted}
        else:
            below = known.below(entry.path)
            files = {f"{entry.place}/{path}": wanted for path, wanted in below.items()}
        for place, wanted in files.items():
            problem = self._compared(place, wanted)
            if problem is not None:
                yield place, problem

    def _compared(self, place: str, wanted: Entry) -> str | None:
        try:
            status = os.stat(place, follow_symlinks=False)
            if wanted.is_directory:
                return None if stat.S_ISDIR(status.st_mode) else "it is not a directory"
            if not stat.S_ISREG(status.st_mode):
                return "it is not a file"
            key = (status.st_dev, status.st_ino, f"{wanted.md5sum}-{wanted.size}")
            if key not in self._known:
                self._known[key] = file_problem(Path(place), wanted, Stop())
            return self._known[key]
        except _GONE:
            return "it is missing"
        except OSError as error:
            return f"it can't be read: {error.strerror}"


def _known(entry: CacheEntry) -> Expected:
    """What the manifest lists that was fetched with ``entry``."""
    key = version_of(entry.path)
    if key is None:
        return NOTHING
    try:
        return decoded(key, Path(manifest_of(entry, key)).read_bytes())
    except _GONE:
        return NOTHING


def manifest_of(entry: CacheEntry, key: VersionKey) -> str:
    """Where the manifest of version ``key`` is that was fetched with ``entry``."""
    return f"{entry.whole if entry.is_directory else f'{entry.root}/files/{key.path}'}/{MANIFEST}"


def _record_problem(place: str) -> str | None:
    """The problem with a record of the registry, which must be JSON."""
    try:
        msgspec.json.decode(Path(place).read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"it is damaged: {error}"
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return None


_Inode = tuple[int, int]


@dataclass(frozen=True)
class PruneResult:
    """The removed entries (or those that would be), and the number of bytes freed.

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
    cache: str, unwanted: Iterable[CacheEntry], before: float = 0.0, *, dry_run: bool = False
) -> PruneResult:
    """Remove the ``unwanted`` entries from the directory ``cache``.

    Also removes files that belong to no entry and have not changed since ``before`` (seconds since
    1970). With ``dry_run`` removes nothing.
    """
    listed = list(unwanted)
    leftovers = freed = 0
    for root in services(cache):
        of_service = [entry for entry in listed if Path(entry.whole).is_relative_to(root)]
        if not dry_run:
            recover(root)
        names = _names(file for entry in of_service for file in _statuses(entry))
        objects = _unwanted_objects(root, names, before)
        for path in objects:
            _count(names, os.stat(path, follow_symlinks=False))
        freed += sum(size for links, size, seen in names.values() if links <= seen)
        parts = [part for part in partials(root) if part.stat().st_mtime <= before]
        freed += sum(file.stat().st_size for part in parts for file in files_below(part))
        leftovers += len(parts) + sum(_is_single(path) for path in objects)
        if not dry_run:
            _remove(root, of_service, objects, parts)
    return PruneResult(listed, leftovers, freed)


def _statuses(entry: CacheEntry) -> Iterable[os.stat_result]:
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


def _unwanted_objects(
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


def _remove(root: Path, unwanted: list[CacheEntry], objects: list[str], parts: list[Path]) -> None:
    with scratch_directory(root) as scratch:
        for number, path in enumerate((*(Path(entry.whole) for entry in unwanted), *parts)):
            with contextlib.suppress(FileNotFoundError):
                path.rename(scratch.path / f"old-{number}")
        for entry in unwanted:
            if not entry.is_directory:
                sidecar(root, entry.path).unlink(missing_ok=True)
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
