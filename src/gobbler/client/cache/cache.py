"""The cache of one service: fetch a file or a directory once, and find it again."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_plus

from gobbler.client.address import digest
from gobbler.client.cache.directory import DirectoryFetch, FlushQueue
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import Scratch, scratch_directory
from gobbler.client.download import SMALL_FILE, download, download_small, write_file
from gobbler.client.expected import ContentMismatch, Expected, expected, file_problem
from gobbler.client.http import Http
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop
from gobbler.client.service_url import without_secrets
from gobbler.errors import Code, Fault, Forbidden, GobblerError, quoted
from gobbler.model.names import MANIFEST
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Entry

RENAME_ATTEMPTS = 100
"""Attempts to rename to a path that other processes change, too."""

MIN_KEPT_BYTES = 8 << 20
"""Size in bytes from which a file is kept although the rest of its directory failed."""


class Cache:
    """The part of the cache directory ``root`` that belongs to the service ``http``.

    Each call raises what a download raises, and errors of the filesystem as
    :func:`cache_errors` does.
    """

    def __init__(self, root: str, http: Http) -> None:
        self._http = http
        self._top = root
        self._root = os.path.join(root, quote_plus(without_secrets(http.url)))
        self._objects = Objects(Path(self._root))

    def file(self, path: str, *, overwrite: bool, progress: Progress) -> str:
        """The path of a local copy of the registry's file ``path``, fetched unless it is here.

        With ``overwrite``, fetches it again; programs that have the old copy open keep it.
        """
        target = os.path.join(self._root, "files", path)
        with cache_errors(self._top):
            if overwrite or not _use(target, os.path.isfile):
                progress.expect(1, None)
                self._fetch_file(path, target, overwrite, progress)
        return target

    def find_content(self, entry: Entry) -> str | None:
        """The path of a local file with the content of ``entry``, however it was fetched."""
        with cache_errors(self._top):
            found = self._objects.find_content(entry)
        return found if found is not None and _use(found, os.path.isfile) else None

    def file_with_entry(self, path: str, entry: Entry) -> str:
        """The path of a local copy of the registry's file ``path``, which has this ``entry``.

        Unlike :meth:`file`, reads no manifest, which saves time when a program opens many files of
        a large version. Raises :class:`~gobbler.client.expected.ContentMismatch` if the service has
        another file.
        """
        target = os.path.join(self._root, "files", path)
        with cache_errors(self._top):
            if _use(target, os.path.isfile) and file_problem(Path(target), entry, Stop()) is None:
                return target
            if entry.size > SMALL_FILE:
                self._put_file(path, target, entry, NoProgress())
            else:
                with scratch_directory(Path(self._root)) as scratch:
                    new = scratch.path / "file"
                    download_small(self._http, path, new, entry, NoProgress())
                    _flush_file(new)
                    self._objects.add([(str(new), entry)])
                    _rename(new, target)
        return target

    def _fetch_file(self, path: str, target: str, overwrite: bool, progress: Progress) -> None:
        known, is_old = self._expected(path, overwrite=overwrite)
        if is_old and known.entry(path) is None:
            known, is_old = self._expected(path, overwrite=True)
        try:
            self._put_file(path, target, known.entry(path), progress)
        except ContentMismatch:
            # The manifest in the cache may be that of another version of this name.
            if not is_old:
                raise
            known, _ = self._expected(path, overwrite=True)
            self._put_file(path, target, known.entry(path), progress)

    def _put_file(self, path: str, target: str, entry: Entry | None, progress: Progress) -> None:
        with scratch_directory(Path(self._root)) as scratch:
            stop, renewing = Stop(), _LeaseProgress(progress, scratch)
            new = scratch.path / "file"
            if entry is not None and self._objects.reuse(entry, str(new), stop):
                progress.advance(1, entry.size)
            else:
                with scratch.part(digest(path)) as part:
                    download(self._http, path, part, entry, renewing, stop).rename(new)
                _flush_file(new)
                if entry is not None:
                    self._objects.add([(str(new), entry)])
            _rename(new, target)

    def _expected(self, path: str, *, overwrite: bool) -> tuple[Expected, bool]:
        """The expected entries, and whether the manifest was in the cache already."""
        requested = False

        def read(manifest: str) -> bytes:
            nonlocal requested
            cached = os.path.join(self._root, "files", manifest)
            requested = overwrite or not os.path.isfile(cached)
            return Path(
                self.file(manifest, overwrite=overwrite, progress=NoProgress())
            ).read_bytes()

        try:
            return expected(path, read), not requested
        except Fault:
            if requested:
                raise
            return self._expected(path, overwrite=True)

    def directory(self, path: str, *, overwrite: bool, concurrent: int, progress: Progress) -> str:
        """The path of a complete local copy of the registry's directory ``path``.

        If the cache has a copy, sends no request, even if the version was replaced since. With
        ``overwrite``, fetches it again; the old copy stays until the new one is complete.
        """
        tree = os.path.join(self._root, "trees", digest(path))
        target = os.path.join(tree, path)
        with cache_errors(self._top):
            if overwrite or not os.path.isdir(target) or not _use(tree, os.path.isdir):
                self._fetch_directory(path, tree, overwrite, concurrent, progress)
        return target

    def _fetch_directory(
        self, path: str, tree: str, overwrite: bool, concurrent: int, progress: Progress
    ) -> None:
        with scratch_directory(Path(self._root)) as scratch:
            new = scratch.path / "new"
            (new / path).mkdir(parents=True)
            known = expected(path, self._http.read)
            if known.content:
                write_file(new / MANIFEST, known.content)
            with FlushQueue(str(new), self._objects) as flush_queue:
                fetch = DirectoryFetch(
                    self._http,
                    path,
                    new / path,
                    known,
                    self._objects,
                    flush_queue,
                    scratch,
                    _LeaseProgress(progress, scratch),
                )
                try:
                    fetch.fetch(Path(self._root), concurrent)
                except BaseException:
                    self._keep_large(fetch)
                    raise
                flush_queue.finish()
            os.makedirs(os.path.dirname(tree), exist_ok=True)
            _put(new, Path(tree), path, overwrite=overwrite)

    def _keep_large(self, fetch: DirectoryFetch) -> None:
        """Keep the large files of a directory that could not be fetched whole."""
        for file, entry in fetch.verified():
            if entry.size >= MIN_KEPT_BYTES:
                with contextlib.suppress(OSError):
                    _flush_file(Path(file))
                    self._objects.add([(file, entry)])


class _LeaseProgress:
    """Renews the lease of a scratch directory whenever the work advances."""

    def __init__(self, progress: Progress, scratch: Scratch) -> None:
        self._scratch = scratch
        self._progress = progress
        self.expect = progress.expect

    def advance(self, files: int, size: int) -> None:
        """Renew the lease, and pass the progress on."""
        self._scratch.renew()
        self._progress.advance(files, size)


def _use(path: str, exists: Callable[[str], bool]) -> bool:
    """Whether ``path`` is there; if it is, mark it as used now."""
    if not exists(path):
        return False
    # Other users of a shared cache may not change its times.
    with contextlib.suppress(OSError):
        modified = os.stat(path).st_mtime_ns
        now = time.time_ns()
        os.utime(path, ns=(now, now if os.path.isdir(path) else modified))
    return True


def _rename(new: Path, target: str) -> None:
    for _ in range(RENAME_ATTEMPTS):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # pruning removes empty directories
            new.replace(target)
            return
    raise _too_busy(target)


def _put(new: Path, tree: Path, path: str, *, overwrite: bool) -> None:
    """Rename ``new`` to ``tree``; a tree that is there moves beside ``new``.

    Without ``overwrite``, a complete tree that another process has put there meanwhile stays.
    """
    for attempt in range(RENAME_ATTEMPTS):
        if overwrite or not (tree / path).is_dir():
            with contextlib.suppress(FileNotFoundError):
                tree.rename(new.with_name(f"old{attempt}"))
        try:
            new.rename(tree)
        except OSError as error:
            # If the tree is not there now, another process may be about to replace it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not overwrite and (tree / path).is_dir():
                return
        else:
            return
    raise _too_busy(str(tree))


def _too_busy(place: str) -> Fault:
    return Fault(
        f"other processes keep changing {quoted(place)}",
        code=Code.CONTENTION,
        hint=f"Try again, or {ANOTHER_PLACE}.",
    )


def _flush_file(path: Path) -> None:
    """Flush ``path``: a power cut must not leave a file that has its name but not its content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with optional_step("flush files of the cache"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


ANOTHER_PLACE = "use another directory: --cache or GOBBLER_CACHE"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def cache_errors(cache: str) -> Iterator[None]:
    """Raise an ``OSError`` about the cache directory ``cache`` as ours, with a hint."""
    try:
        yield
    except GobblerError:
        raise  # some of them are an OSError as well
    except OSError as error:
        raise _cache_error(error, cache) from error


def _cache_error(error: OSError, cache: str) -> GobblerError:
    message = error.strerror or str(error)
    if error.errno in _FULL:
        return Fault(
            f"the cache {quoted(cache)} has no space left: {message}",
            code=Code.DISK_FULL,
            hint=f"Free some with gobbler cache prune, or {ANOTHER_PLACE}.",
        )
    path = error.filename2 or error.filename
    where = os.fsdecode(path) if isinstance(path, str | bytes) else cache
    if error.errno in _FORBIDDEN:
        return Forbidden(
            f"the cache {quoted(cache)} can't be used: {message}: {quoted(where)}",
            code=Code.READ_ONLY if error.errno == errno.EROFS else Code.UNWRITABLE,
            hint=f"Correct its permissions, or {ANOTHER_PLACE}.",
        )
    return Fault(
        f"the cache {quoted(cache)} is damaged: {message}: {quoted(where)}",
        code=Code.IO_ERROR,
        hint="Find what is damaged with gobbler cache verify, or remove that path: its content "
        f"is fetched again. Or {ANOTHER_PLACE}.",
    )
