"""What was downloaded once and need not be again.

::

    {cache}/{URL of the service, quoted}/
        files/{path in the registry}            files that were fetched alone
        trees/{digest of the path}/
            {path in the registry}/             a directory, whole
            ..manifest                          of its version
        objects/                                see gobbler.client.cache.objects
        temp/  partial/                         see gobbler.client.cache.partial
        no-archives                             see gobbler.client.archive

Everything is built below ``temp``, flushed and renamed, so what has its final name is
complete, whatever was killed when; any number of processes may use one cache without
waiting for each other. Every directory has a tree of its own, because one that was fetched
whole must not be confused with one in which only a part has been fetched. Files that are the
same are one file with several names.

The time of change of a tree, and the time of access of a file, are when they were last used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import platformdirs

from gobbler.client.cache.directory import Tree
from gobbler.client.cache.disk_errors import explained
from gobbler.client.cache.flush_queue import Settling
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import Workplace, workplace
from gobbler.client.download import SMALL, Damaged, difference, download, download_small, write_file
from gobbler.client.expected import Expected, expected
from gobbler.client.http import Http
from gobbler.client.parallel import Stop
from gobbler.client.paths import digest
from gobbler.errors import Fault
from gobbler.model.names import MANIFEST
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Entry

ATTEMPTS = 100
"""Of putting something in its place while others do, too."""

KEPT_ALONE = 8 << 20
"""Bytes from which on a file is kept though the rest of its directory could not be fetched."""


def default_cache() -> str:
    """Where downloads go unless told otherwise: ``$GOBBLER_CACHE``, or the user's data."""
    return os.environ.get("GOBBLER_CACHE") or platformdirs.user_data_dir("gobbler")


class Cache:
    """The part of the cache directory ``root`` that belongs to the service ``http``."""

    def __init__(self, root: str, http: Http) -> None:
        self._http = http
        self._top = root
        self._root = os.path.join(root, quote_plus(http.url))
        self._objects = Objects(Path(self._root))

    def file(self, path: str, *, overwrite: bool, progress: Progress) -> str:
        """The local copy of the registry's file ``path``, fetched unless it is here.

        With ``overwrite`` it is fetched in any case; whoever has the old copy open keeps it.
        """
        target = os.path.join(self._root, "files", path)
        with explained(self._top):
            if overwrite or not _use(target, os.path.isfile):
                progress.expect(1, None)
                self._fetch_file(path, target, overwrite, progress)
        return target

    def kept(self, entry: Entry) -> str | None:
        """Where a copy of the file that ``entry`` tells is, whatever it was fetched with."""
        with explained(self._top):
            found = self._objects.kept(entry)
        return found if found is not None and _use(found, os.path.isfile) else None

    def known(self, path: str, entry: Entry) -> str:
        """The local copy of the registry's file ``path``, whose ``entry`` the caller knows.

        Unlike in :meth:`file` no manifest is read for it, which counts where one file after
        another of a large version is wanted. Raises
        :class:`~gobbler.client.download.Damaged` if the service has another file.
        """
        target = os.path.join(self._root, "files", path)
        with explained(self._top):
            if _use(target, os.path.isfile) and difference(Path(target), entry, Stop()) is None:
                return target
            if entry.size > SMALL:
                self._put_file(path, target, entry, NoProgress())
            else:
                with workplace(Path(self._root)) as place:
                    new = place.path / "file"
                    download_small(self._http, path, new, entry, NoProgress())
                    _flush_file(new)
                    self._objects.add([(str(new), entry)])
                    _rename(new, target)
        return target

    def _fetch_file(self, path: str, target: str, overwrite: bool, progress: Progress) -> None:
        known, is_old = self._expected(path, anew=overwrite)
        if is_old and known.entry(path) is None:
            known, is_old = self._expected(path, anew=True)
        try:
            self._put_file(path, target, known.entry(path), progress)
        except Damaged:
            # The manifest in the cache may be that of another version of this name.
            if not is_old:
                raise
            known, _ = self._expected(path, anew=True)
            self._put_file(path, target, known.entry(path), progress)

    def _put_file(self, path: str, target: str, entry: Entry | None, progress: Progress) -> None:
        with workplace(Path(self._root)) as place:
            stop, watched = Stop(), Watched(progress, place)
            new = place.path / "file"
            if entry is not None and self._objects.reuse(entry, str(new), stop):
                progress.advance(1, entry.size)
            else:
                with place.part(digest(path)) as part:
                    download(self._http, path, part, entry, watched, stop).rename(new)
                _flush_file(new)
                if entry is not None:
                    self._objects.add([(str(new), entry)])
            _rename(new, target)

    def _expected(self, path: str, *, anew: bool) -> tuple[Expected, bool]:
        """What is expected of a file, and whether that was in the cache already."""
        asked = False

        def read(manifest: str) -> bytes:
            nonlocal asked
            cached = os.path.join(self._root, "files", manifest)
            asked = anew or not os.path.isfile(cached)
            return Path(self.file(manifest, overwrite=anew, progress=NoProgress())).read_bytes()

        try:
            return expected(path, read), not asked
        except Fault:
            if asked:
                raise
            return self._expected(path, anew=True)

    def directory(self, path: str, *, overwrite: bool, concurrent: int, progress: Progress) -> str:
        """The local copy of the registry's directory ``path``, complete.

        If it is here no request is made, whatever has become of it since. With
        ``overwrite`` it is fetched in any case; the old tree stays until the new one is whole.
        """
        tree = os.path.join(self._root, "trees", digest(path))
        target = os.path.join(tree, path)
        with explained(self._top):
            if overwrite or not os.path.isdir(target) or not _use(tree, os.path.isdir):
                self._fetch_directory(path, tree, overwrite, concurrent, progress)
        return target

    def _fetch_directory(
        self, path: str, tree: str, overwrite: bool, concurrent: int, progress: Progress
    ) -> None:
        with workplace(Path(self._root)) as place:
            new = place.path / "new"
            (new / path).mkdir(parents=True)
            known = expected(path, self._http.read)
            if known.content:
                write_file(new / MANIFEST, known.content)
            with Settling(str(new), self._objects) as settling:
                fetched = Tree(
                    self._http,
                    path,
                    new / path,
                    known,
                    self._objects,
                    settling,
                    place,
                    Watched(progress, place),
                )
                try:
                    fetched.fetch(Path(self._root), concurrent)
                except BaseException:
                    self._keep_large(fetched)
                    raise
                settling.finish()
            os.makedirs(os.path.dirname(tree), exist_ok=True)
            _put(new, Path(tree), path, overwrite=overwrite)

    def _keep_large(self, fetched: Tree) -> None:
        """Keep the large files of a directory that could not be fetched whole."""
        for file, entry in fetched.verified():
            if entry.size >= KEPT_ALONE:
                with contextlib.suppress(OSError):
                    _flush_file(Path(file))
                    self._objects.add([(file, entry)])


class Watched:
    """Progress that shows other processes that this one lives."""

    def __init__(self, progress: Progress, place: Workplace) -> None:
        self._place = place
        self._progress = progress
        self.expect = progress.expect

    def advance(self, files: int, size: int) -> None:
        """Tell of it."""
        self._place.renew()
        self._progress.advance(files, size)


def _use(path: str, exists: Callable[[str], bool]) -> bool:
    """Whether ``path`` is there; if so, it has now been used."""
    if not exists(path):
        return False
    # In a cache that is shared, others may not do that.
    with contextlib.suppress(OSError):
        modified = os.stat(path).st_mtime_ns
        now = time.time_ns()
        os.utime(path, ns=(now, now if os.path.isdir(path) else modified))
    return True


def _rename(new: Path, target: str) -> None:
    for _ in range(ATTEMPTS):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # whoever prunes removes empty directories
            new.replace(target)
            return
    raise Fault(f"too many processes change {target} at the same time")


def _put(new: Path, tree: Path, path: str, *, overwrite: bool) -> None:
    """Rename ``new`` to ``tree``; what is there moves beside ``new``.

    Without ``overwrite``, a whole tree that another process has put there in the meantime
    is as good and stays.
    """
    for attempt in range(ATTEMPTS):
        if overwrite or not (tree / path).is_dir():
            with contextlib.suppress(FileNotFoundError):
                tree.rename(new.with_name(f"old{attempt}"))
        try:
            new.rename(tree)
        except OSError as error:
            # Whether the tree is still there says nothing: another may just have moved it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not overwrite and (tree / path).is_dir():
                return
        else:
            return
    raise Fault(f"too many processes replace {tree} at the same time")


def _flush_file(path: Path) -> None:
    """A power cut must not leave a copy that has its final name but not its content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
