"""The cache of one service: fetch a file or a directory once, and find it again."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

from gobbler.client import errors
from gobbler.client.address import digest
from gobbler.client.cache.directory import DirectoryFetch, FlushQueue
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import Scratch, single_flight
from gobbler.client.cache.placement import (
    LeaseProgress,
    cache_errors,
    flush_file,
    mark_used,
    put_file,
    put_tree,
)
from gobbler.client.cache.records import Records
from gobbler.client.cache.user_directory import UserDirectory, is_own_directory, is_own_file
from gobbler.client.download import SMALL_FILE, download, download_small, write_file
from gobbler.client.errors import request_failed
from gobbler.client.expected import (
    NOTHING,
    ContentMismatch,
    Expected,
    check_complete,
    decoded,
    file_problem,
    version_of,
)
from gobbler.client.http import Http
from gobbler.client.parallel import Stop
from gobbler.client.service_url import without_secrets
from gobbler.client.source import RemoteSource
from gobbler.errors import Code, Fault, Missing, Unreachable, quoted
from gobbler.fs.directories import entries_below
from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.names import MANIFEST, VersionKey, has_internal
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Entry, Manifest

MIN_KEPT_BYTES = 8 << 20
"""Size in bytes from which a file is kept although the rest of its directory failed."""


class Cache:
    """The part of the cache directory ``root`` that belongs to the service ``http``.

    Each call raises what a download raises, and errors of the filesystem as
    :func:`~gobbler.client.cache.placement.cache_errors` does.
    """

    def __init__(self, root: str, http: Http) -> None:
        self._http = http
        self._top = root
        self._user = UserDirectory(root)
        self._service = quote_plus(without_secrets(http.url))
        self._records = Records(http, lambda: self._root)
        self._known: tuple[Fingerprint, Expected] | None = None

    @property
    def _root(self) -> Path:
        return Path(self._user.work, self._service)

    @property
    def _objects(self) -> Objects:
        return Objects(self._root)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        with cache_errors(self._top):
            self._user.open()
            yield

    def file(self, path: str, *, overwrite: bool, progress: Progress) -> str:
        """The path of a local copy of the registry's file ``path``, fetched unless it is here.

        A copy of another version of the same name does not count. With ``overwrite``, fetches it
        again; programs that have the old copy open keep it.
        """
        with self._opened():
            return self._user.shown(self._file(path, overwrite, progress))

    def content(self, path: str, *, overwrite: bool = False) -> tuple[Fingerprint, bytes]:
        """The content of the registry's file ``path``, and the fingerprint of the copy here."""
        with self._opened():
            return _read(self._records.file(path, overwrite=overwrite))

    def state(self, key: VersionKey) -> Fingerprint:
        """The fingerprint of a local copy of the manifest of a version, as it is now.

        Raises :class:`~gobbler.errors.Missing` if the version does not exist (any more).
        """
        with self._opened(), contextlib.suppress(Missing):
            return Fingerprint.of(os.stat(self._records.file(key.manifest)))
        return self.manifest(key)[0]

    def manifest(self, key: VersionKey, *, overwrite: bool = False) -> tuple[Fingerprint, Manifest]:
        """The manifest of a version, and the fingerprint of the copy here.

        Raises :class:`~gobbler.errors.Missing` if the version does not exist (any more).
        """
        with self._opened():
            try:
                fingerprint, known = self._listed(key, overwrite=overwrite)
            except Missing as error:
                raise _no_version(key) from error
            return fingerprint, known.manifest

    def find_content(self, entry: Entry) -> str | None:
        """The path of a local file with the content of ``entry``, however it was fetched."""
        with self._opened():
            found = self._objects.find_content(entry)
        if found is None or not mark_used(found, is_own_file):
            return None
        return self._user.shown(found)

    def file_with_entry(self, path: str, entry: Entry) -> str:
        """The path of a local copy of the registry's file ``path``, which has this ``entry``.

        Unlike :meth:`file`, reads no manifest, which saves time when a program opens many files of
        a large version. Raises :class:`~gobbler.client.expected.ContentMismatch` if the service has
        another file.
        """
        with self._opened():
            return self._user.shown(self._content(path, entry, NoProgress(), overwrite=False))

    def _file(self, path: str, overwrite: bool, progress: Progress) -> str:
        known = self._expected(path, overwrite=overwrite)
        entry = known.entry(path)
        if entry is None:
            return self._records.file(path, overwrite=overwrite, progress=progress)
        try:
            return self._content(path, entry, progress, overwrite=overwrite)
        except ContentMismatch:
            # Another version may have taken its name since its manifest was validated.
            renewed = self._expected(path, overwrite=True)
            entry = renewed.entry(path)
            if entry is None or renewed.content == known.content:
                raise
            return self._content(path, entry, progress, overwrite=overwrite)

    def _content(self, path: str, entry: Entry, progress: Progress, *, overwrite: bool) -> str:
        target = str(self._root / "files" / path)
        if not overwrite and self._holds(target, entry):
            return target
        before = _inode(target)

        def is_done() -> bool:
            return self._holds(target, entry) and not (overwrite and _inode(target) == before)

        with single_flight(self._root, digest(path), quoted(path), is_done) as scratch:
            if scratch is not None:
                progress.expect(1, entry.size)
                self._put_content(path, target, entry, scratch, progress)
        return target

    def _holds(self, target: str, entry: Entry) -> bool:
        """Whether ``target`` is a file with the content of ``entry``."""
        if not mark_used(target, is_own_file):
            return False
        stored = self._objects.find_content(entry)
        with contextlib.suppress(FileNotFoundError):
            # A file of the object store was compared when it was put there.
            if stored is not None and os.path.samefile(stored, target):
                return True
        return file_problem(Path(target), entry, Stop()) is None

    def _put_content(
        self, path: str, target: str, entry: Entry, scratch: Scratch, progress: Progress
    ) -> None:
        stop, renewing = Stop(), LeaseProgress(progress, scratch)
        new = scratch.path / "file"
        if self._objects.reuse(entry, str(new), stop):
            progress.advance(1, entry.size)
        else:
            if entry.size > SMALL_FILE:
                with scratch.part(digest(path)) as part:
                    download(self._http, path, part, entry, renewing, stop).path.rename(new)
            else:
                download_small(self._http, path, new, entry, renewing)
            flush_file(new)
            self._objects.add([(str(new), entry)])
        put_file(new, target)

    def _expected(self, path: str, *, overwrite: bool = False) -> Expected:
        """The manifest of the version that ``path`` is in, as the service has it now."""
        key = version_of(path)
        if key is None:
            return NOTHING
        try:
            return self._listed(key, overwrite=overwrite)[1]
        except Missing:
            return NOTHING  # an administrator may have put the directory there by hand

    def _listed(self, key: VersionKey, *, overwrite: bool) -> tuple[Fingerprint, Expected]:
        file = self._records.file(key.manifest, overwrite=overwrite)
        held = self._known
        if held is not None and held[1].version == key.path:
            with contextlib.suppress(FileNotFoundError):
                if held[0] == Fingerprint.of(os.stat(file)):
                    return held
        fingerprint, content = _read(file)
        try:
            found = fingerprint, decoded(key, content)
        except Fault:
            if overwrite:
                raise
            return self._listed(key, overwrite=True)  # the copy here may be damaged
        self._known = found
        return found

    def directory(self, path: str, *, overwrite: bool, concurrent: int, progress: Progress) -> str:
        """The path of a complete local copy of the registry's directory ``path``.

        Uses the copy that is here if the version still has the same manifest. With ``overwrite``,
        fetches it again; the old copy stays until the new one is complete.
        """
        with self._opened():
            known = self._expected(path, overwrite=overwrite)
            key = version_of(path)
            try:
                if key is not None and key.path == path and not known.version:
                    RemoteSource(self._http).walk(path)  # raises if it is not there
                    check_complete(path, "", is_local=False)
                target = self._directory(path, known, overwrite, concurrent, progress)
            except (Unreachable, Missing):
                raise
            except errors.RequestFailed as error:
                if key is None or known.version:
                    raise
                raise _no_version(key) from error  # the Go service fails to list what is gone
            except Fault as error:
                if error.code not in (Code.CONTENT_MISMATCH, Code.CONTENT_CHANGED):
                    raise
                renewed = self._expected(path, overwrite=True)
                if renewed.content == known.content:
                    raise
                target = self._directory(path, renewed, overwrite, concurrent, progress)
            return self._user.shown(target)

    def _directory(
        self, path: str, known: Expected, overwrite: bool, concurrent: int, progress: Progress
    ) -> str:
        tree = str(self._root / "trees" / digest(path))
        if not overwrite and self._is_current(tree, path, known):
            return f"{tree}/{path}"
        before = _inode(tree)

        def is_done() -> bool:
            is_new = not (overwrite and _inode(tree) == before)
            return is_new and self._is_current(tree, path, known)

        key = f"{digest(path)}-tree"
        with single_flight(self._root, key, quoted(path), is_done) as scratch:
            if scratch is not None:
                self._fetch_directory(path, known, concurrent, scratch, progress)
                # Another process may have needed it without waiting for this one.
                is_good = (lambda: False) if overwrite else is_done
                put_tree(scratch.path / "new", Path(tree), is_good)
        return f"{tree}/{path}"

    def _is_current(self, tree: str, path: str, known: Expected) -> bool:
        """Whether ``tree`` is a copy of the directory ``path`` as the service has it now."""
        if not (is_own_directory(tree) and os.path.isdir(f"{tree}/{path}")):
            return False
        manifest = f"{tree}/{MANIFEST}"
        if known.version:
            try:
                if not is_own_file(manifest) or Path(manifest).read_bytes() != known.content:
                    return False
            except OSError:
                return False
        elif os.path.lexists(manifest) or not self._has_same_files(f"{tree}/{path}", path):
            return False
        return mark_used(tree, is_own_directory)

    def _has_same_files(self, copy: str, path: str) -> bool:
        """Whether a directory that no manifest lists has the same files and records as ``copy``."""
        try:
            listed = RemoteSource(self._http).walk(path)
            if {name for name in listed if not name.endswith("/")} != _names_below(copy):
                return False
            return all(
                filecmp.cmp(self._records.file(f"{path}/{name}"), f"{copy}/{name}", shallow=False)
                for name in listed
                if has_internal(name) and not name.endswith("/")
            )
        except Unreachable as error:
            self._records.tell_outage(error)
            return True

    def _fetch_directory(
        self,
        path: str,
        known: Expected,
        concurrent: int,
        scratch: Scratch,
        progress: Progress,
    ) -> None:
        new = scratch.path / "new"
        (new / path).mkdir(parents=True)
        if known.version:
            write_file(new / MANIFEST, known.content)
        with FlushQueue(str(new), self._objects, scratch.renew) as flush_queue:
            fetch = DirectoryFetch(
                self._http,
                path,
                new / path,
                known,
                self._objects,
                flush_queue,
                scratch,
                LeaseProgress(progress, scratch),
            )
            try:
                fetch.fetch(self._root, concurrent)
            except BaseException:
                self._keep_large(fetch)
                raise
            check_complete(path, f"{new}/{path}", is_local=False)
            flush_queue.finish()

    def _keep_large(self, fetch: DirectoryFetch) -> None:
        """Keep the large files of a directory that could not be fetched whole."""
        for file, entry in fetch.verified():
            if entry.size >= MIN_KEPT_BYTES:
                with contextlib.suppress(OSError):
                    flush_file(Path(file))
                    self._objects.add([(file, entry)])


def _no_version(key: VersionKey) -> errors.RequestFailed:
    return request_failed(
        Missing.status,
        f"version {quoted(key.path)} is not in the registry",
        code=Code.VERSION_NOT_FOUND,
        hint=f"List what is there: gobbler ls {key.of_asset}",
    )


def _read(path: str) -> tuple[Fingerprint, bytes]:
    with open(path, "rb") as file:
        return Fingerprint.of(os.fstat(file.fileno())), file.read()


def _inode(path: str) -> int:
    """The inode of ``path``; 0 if there is none."""
    try:
        return os.lstat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _names_below(directory: str) -> set[str]:
    """The paths of all files below ``directory``, relative to it."""
    return {path for path, is_directory in entries_below(directory) if not is_directory}
