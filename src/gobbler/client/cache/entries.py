"""What is in a cache: each thing that was fetched, how large it is, and whether it is whole.

Works on the directory alone, for all services whose files are in it; nothing is asked of any.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

from gobbler.client.download import difference
from gobbler.client.expected import expected
from gobbler.client.parallel import Stop
from gobbler.client.paths import digest
from gobbler.errors import Fault, Missing
from gobbler.model.names import MANIFEST, has_internal
from gobbler.model.records import Entry

_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class Cached:
    """A file or a directory that was fetched.

    ``service`` is the URL of the service it is from, ``path`` its path in the registry
    (empty where that can't be told any more), ``place`` where it is on this machine, and
    ``whole`` what goes there when it is removed. ``size`` is the sum of the sizes of its
    ``files`` files, in bytes; some of them may share their space with others. ``used`` is
    when it was last asked for, in seconds since 1970.
    """

    service: str
    path: str
    place: str
    whole: str
    is_directory: bool
    files: int
    size: int
    used: float


@dataclass(frozen=True)
class Damage:
    """Something in a cache that is not as it was fetched: the ``file``, and its ``problem``."""

    entry: Cached
    file: str
    problem: str


def services(cache: str) -> list[Path]:
    """The parts of the directory ``cache``, one for each service."""
    try:
        found = [path for path in Path(cache).iterdir() if _is_service(path)]
    except FileNotFoundError:
        return []
    return sorted(found)


def _is_service(path: Path) -> bool:
    # Other things may stand in the user's data directory.
    return any((path / name).is_dir() for name in ("files", "trees", "temp"))


def entries(cache: str) -> list[Cached]:
    """All that was fetched into the directory ``cache``, by service and path."""
    found = [
        entry
        for root in services(cache)
        for entry in (*_trees(root, _service(root)), *_files(root, _service(root)))
    ]
    return sorted(found, key=lambda entry: (entry.service, entry.path, not entry.is_directory))


def _service(root: Path) -> str:
    return unquote_plus(root.name)


def _trees(root: Path, service: str) -> Iterator[Cached]:
    for tree in _inside(root / "trees"):
        with contextlib.suppress(FileNotFoundError):  # pruned by another process
            path = _path_of(tree) or ""
            place = str(tree / path)
            sizes = [file.stat(follow_symlinks=False).st_size for file in files_below(place)]
            used = tree.stat().st_mtime
            yield Cached(service, path, place, str(tree), True, len(sizes), sum(sizes), used)


def _path_of(tree: Path) -> str | None:
    """The path in the registry whose tree this is: the one of which it is the digest."""
    path = ""
    while True:
        deeper = [each.name for each in _inside(tree / path) if each.is_dir()]
        for name in deeper:
            if digest(f"{path}/{name}".lstrip("/")) == tree.name:
                return f"{path}/{name}".lstrip("/")
        if len(deeper) != 1:
            return None
        path = f"{path}/{deeper[0]}".lstrip("/")


def _files(root: Path, service: str) -> Iterator[Cached]:
    top = root / "files"
    for file in files_below(top):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat(follow_symlinks=False)
            path = os.path.relpath(file.path, top)
            used = max(status.st_atime, status.st_mtime)
            yield Cached(service, path, file.path, file.path, False, 1, status.st_size, used)


def files_below(top: str | Path) -> Iterator[os.DirEntry[str]]:
    """All that is no directory below ``top``; nothing where that is not there."""
    waiting = [str(top)]
    while waiting:
        with contextlib.suppress(*_GONE), os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except _GONE:
        return []


class Verifier:
    """Compares what is in a cache with the manifests that were fetched with it.

    A file that has several names is read once.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], str | None] = {}

    def damage(self, entry: Cached) -> Iterator[Damage]:
        """What is wrong with ``entry``; every file of it is read.

        Nothing is known, and so nothing wrong, about files that no manifest tells of. What
        goes away meanwhile, as a whole, is not wrong.
        """
        for file, problem in self._problems(entry):
            if os.path.lexists(entry.whole):
                yield Damage(entry, file, problem)

    def _problems(self, entry: Cached) -> Iterator[tuple[str, str]]:
        if not entry.path:
            yield entry.place, "it can't be told which directory of the registry this was"
            return
        if not entry.is_directory and has_internal(entry.path):
            problem = _record_problem(entry.place)
            if problem is not None:
                yield entry.place, problem
            return
        try:
            known = expected(entry.path, lambda path: _manifest(entry, path))
        except Fault as error:
            if entry.is_directory:  # else it is in the cache by itself, too
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
                self._known[key] = difference(Path(place), wanted, Stop())
            return self._known[key]
        except _GONE:
            return "it is missing"
        except OSError as error:
            return f"it can't be read: {error.strerror}"


def _manifest(entry: Cached, path: str) -> bytes:
    """The manifest ``path``, as it was when ``entry`` was fetched."""
    if entry.is_directory:
        place = f"{entry.whole}/{MANIFEST}"
    else:
        place = entry.place[: -len(entry.path)] + path
    try:
        return Path(place).read_bytes()
    except _GONE:
        raise Missing(f"{path} is not in the cache") from None


def _record_problem(place: str) -> str | None:
    """What is wrong with a record of the registry, all of which are JSON."""
    try:
        msgspec.json.decode(Path(place).read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"it is damaged: {error}"
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return None
