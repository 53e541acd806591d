"""Reading a registry: records, whole files and directories, and parts of files.

One rule decides where to read a file of a version: in the registry if that is mounted; else in the
cache, by its MD5 in the manifest; else it is fetched into the cache, if it is small; else by ranges
over HTTP, all of one state of the file. The manifest is validated each time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gobbler.client import errors
from gobbler.client.address import registry_path
from gobbler.client.connection import Connection
from gobbler.client.errors import NotThere, incomplete_version
from gobbler.client.notices import StepFailed, notify_once
from gobbler.client.parallel import ForkSafeLock
from gobbler.client.shown_versions import ShownVersions
from gobbler.errors import Code, Fault, GobblerError, Missing, Unreachable, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.record_file import read_record
from gobbler.model.names import VersionKey, is_internal
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Entry, Manifest, Summary, decode
from gobbler.rules.manifest import Hierarchy, read_manifest

if TYPE_CHECKING:
    from gobbler.client.cache.cache import Cache
    from gobbler.client.ranges import Ranges

T = TypeVar("T")

WHOLE_FILE = 16 << 20
"""Bytes up to which a file that is opened is fetched whole, and kept in the cache."""

VERSIONS_IN_MEMORY = 8
"""Versions whose records are kept in memory; a manifest can be large."""


class VersionRecords:
    """The records of one version, as they were read."""

    def __init__(self, key: VersionKey, manifest: Manifest, summary: Callable[[], Summary]) -> None:
        self.key = key
        self.manifest = manifest
        self._read_summary = summary
        self._summary: Summary | None = None
        self._tree: Hierarchy | None = None

    @property
    def summary(self) -> Summary:
        """Its summary, read when it is first needed."""
        summary = self._summary
        if summary is None:
            summary = self._summary = self._read_summary()
        return summary

    def forget_summary(self) -> None:
        """Read the summary again when it is needed: probation ends."""
        self._summary = None

    @property
    def tree(self) -> Hierarchy:
        """Its directories."""
        if self._tree is None:
            self._tree = Hierarchy(self.manifest)
        return self._tree

    def entry(self, path: str) -> Entry:
        """The entry of the file ``path``.

        Raises :class:`~gobbler.client.errors.NotThere`, or ``IsADirectoryError``.
        """
        if self.is_directory(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.key.file(path))
        return self.manifest[path]

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory, not a file; ``""`` is the version itself.

        All callers that need to know use this. Raises :class:`~gobbler.client.errors.NotThere` if
        it is neither.
        """
        entry = self.manifest.get(path)
        if entry is not None and not entry.is_directory:
            return False
        if self.tree.children(path) is not None:
            return True
        place = self.key.file(path)
        raise NotThere(
            f"{quoted(place)} is not in the registry",
            place,
            hint=f"List what is there: gobbler ls {self.key}",
        )


class RegistryReader:
    """Reads the registry of a connection; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._held: OrderedDict[VersionKey, tuple[Fingerprint, VersionRecords]] = OrderedDict()
        self._lock = ForkSafeLock()
        self.shown = ShownVersions()

    def __reduce__(self) -> tuple[type[RegistryReader], tuple[Connection]]:
        return RegistryReader, (self.connection,)

    # Records.

    def manifest(self, key: VersionKey, *, overwrite: bool = False) -> Manifest:
        """The manifest of a version, from the cache if it is still the same there.

        With ``overwrite``, a copy in the cache is fetched again.
        """
        return self._manifest(key, overwrite=overwrite)[1]

    def summary(self, key: VersionKey, *, overwrite: bool = False) -> Summary:
        """The summary of a version, from the cache if it is still the same there.

        With ``overwrite``, a copy in the cache is fetched again.
        """
        local = self.connection.local
        if local is not None:
            return _decode_summary(local.read(key.summary), key.summary)

        def cached(cache: Cache) -> Summary:
            return _decode_summary(cache.content(key.summary, overwrite=overwrite)[1], key.summary)

        def direct(data: bytes) -> Summary:
            return _decode_summary(data, key.summary)

        try:
            return self._record(key.summary, cached, direct)
        except Fault as error:
            if overwrite or error.code != Code.DAMAGED_RECORD:
                raise
            return self.summary(key, overwrite=True)

    def _record(self, path: str, cached: Callable[[Cache], T], direct: Callable[[bytes], T]) -> T:
        """What ``cached`` returns; of the content alone if the cache can't be used."""
        try:
            return cached(self.connection.cache)
        except (GobblerError, OSError) as error:
            if not is_unusable(error):
                raise
            notify_once(f"{_reason(error)}; records are read without it", StepFailed)
            return direct(self.connection.http.read(path))

    def _manifest(self, key: VersionKey, *, overwrite: bool) -> tuple[Fingerprint, Manifest]:
        local = self.connection.local
        if local is None:
            return self._record(
                key.manifest,
                lambda cache: cache.manifest(key, overwrite=overwrite),
                lambda data: (_fingerprint_of(data), read_manifest(data, key.manifest)),
            )
        status, data = read_record(local.file(key.manifest), key.manifest)
        return Fingerprint.of(status), read_manifest(data, key.manifest)

    def records(self, key: VersionKey) -> VersionRecords:
        """The records of a version; they count as shown if no others were shown before."""
        found = self._records(key)
        self.shown.manifest(key, found.manifest, again=False)
        return found

    def _records(self, key: VersionKey) -> VersionRecords:
        """The records of a version, kept in memory as long as its manifest is the same."""
        held = self.in_memory(key)
        try:
            if held is not None and held[0] == self._state(key):
                held[1].forget_summary()
                return held[1]
            state, manifest = self._manifest(key, overwrite=False)
            records = VersionRecords(key, manifest, functools.partial(self.summary, key))
        except Missing as error:
            self.forget(key)
            raise self._explained(key, error) from None
        with self._lock:
            self._held[key] = state, records
            self._held.move_to_end(key)
            while len(self._held) > VERSIONS_IN_MEMORY:
                self._held.popitem(last=False)
        return records

    def _explained(self, key: VersionKey, error: Missing) -> Missing:
        """The error for a version that is there, but not complete; otherwise ``error``."""
        try:
            self.connection.source.listing(key.path)
        except (GobblerError, OSError):
            return error
        local = self.connection.local
        return incomplete_version(key, local.root if local is not None else "")

    def in_memory(self, key: VersionKey) -> tuple[Fingerprint, VersionRecords] | None:
        """The records in memory, and the state of the manifest that they come from."""
        with self._lock:
            return self._held.get(key)

    def _state(self, key: VersionKey) -> Fingerprint:
        """The state of the manifest of a version; reads no more than that takes."""
        local = self.connection.local
        if local is not None:
            return Fingerprint.of(os.stat(local.file(key.manifest)))
        return self._record(key.manifest, lambda cache: cache.state(key), _fingerprint_of)

    def forget(self, key: VersionKey | None = None) -> None:
        """Read the records of a version, or of all versions, again when they are needed."""
        with self._lock:
            if key is None:
                self._held.clear()
            else:
                self._held.pop(key, None)

    def is_directory(self, key: VersionKey, path: str) -> bool:
        """Whether ``path`` is a directory of a version; the service's own files are none.

        Raises :class:`~gobbler.client.errors.NotThere` if there is neither.
        """
        return not is_internal(path.rpartition("/")[2]) and self.records(key).is_directory(path)

    # Whole files and directories.

    def fetch_file(
        self, path: str, *, overwrite: bool = False, progress: Progress | None = None
    ) -> str:
        """Return where the registry's file ``path`` can be read on this machine."""
        path = registry_path(path)
        local = self.connection.local
        if local is not None:
            return local.file(path)
        report = progress or NoProgress()
        return self._cached(lambda cache: cache.file(path, overwrite=overwrite, progress=report))

    def fetch_directory(
        self,
        path: str,
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> str:
        """Return where the registry's directory ``path`` can be read on this machine."""
        path = registry_path(path)
        local = self.connection.local
        if local is not None:
            directory = local.directory(path)
            from gobbler.client.expected import check_complete

            check_complete(path, directory, is_local=True)
            return directory
        report = progress or NoProgress()
        return self._cached(
            lambda cache: cache.directory(
                path, overwrite=overwrite, concurrent=concurrent, progress=report
            )
        )

    def _cached(self, fetch: Callable[[Cache], str]) -> str:
        """What ``fetch`` returns; a default cache that can't be used is replaced by another."""
        try:
            return fetch(self.connection.cache)
        except (GobblerError, OSError) as error:
            if not is_unusable(error) or not self.connection.replace_default_cache(_reason(error)):
                raise
        return fetch(self.connection.cache)

    def fetch(
        self,
        key: VersionKey,
        path: str,
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> str:
        """Return where a version (``path`` is empty), or a file or directory of it, can be read."""
        full = key.file(path) if path else key.path
        is_directory = self.is_directory(key, path)
        if is_directory:
            return self.fetch_directory(
                full, overwrite=overwrite, concurrent=concurrent, progress=progress
            )
        return self.fetch_file(full, overwrite=overwrite, progress=progress)

    # Parts of files.

    def local_path(self, key: VersionKey, path: str) -> str | None:
        """The path on this machine of the file ``path`` of a version, if there is one.

        The path is in the registry or in the cache. Fetches a file of up to 16 MiB into the cache.
        ``None``: use :meth:`ranges`.
        """
        records = self.records(key)
        entry = records.entry(path)
        local = self.connection.local
        if local is not None:
            return local.file(key.file(path))
        from gobbler.client.expected import ContentMismatch

        cache = self.connection.cache
        try:
            kept = cache.find_content(entry)
            if kept is not None or entry.size > WHOLE_FILE:
                return kept
            return cache.file_with_entry(key.file(path), entry)
        except ContentMismatch:
            # Another version may have taken its name since its manifest was validated.
            self.forget(key)
            return self.fetch_file(key.file(path), overwrite=True)
        except Missing:
            self.forget(key)
            raise
        except (GobblerError, OSError) as error:
            if not is_unusable(error):
                raise
            notify_once(f"{_reason(error)}; files are read without it", StepFailed)
            return None

    def ranges(self, key: VersionKey, path: str) -> Ranges:
        """The file ``path`` of a version, to be read in parts over HTTP."""
        records = self.records(key)
        full, size = key.file(path), records.entry(path).size
        whole = functools.partial(self.fetch_file, full)
        outdated = functools.partial(self._renew, key)
        from gobbler.client.ranges import Ranges

        return Ranges(self.connection.http, full, size, whole, outdated)

    def _renew(self, key: VersionKey) -> None:
        """Fetch the records of a version again, because another version has taken its place."""
        self.forget(key)
        with contextlib.suppress(GobblerError):
            self.manifest(key, overwrite=True)


_UNUSABLE = (Code.UNWRITABLE, Code.READ_ONLY, Code.DISK_FULL, Code.IO_ERROR)
"""Codes of a cache that can't be used, see :func:`~gobbler.client.cache.cache.cache_errors`."""


def is_unusable(error: GobblerError | OSError) -> bool:
    """Whether ``error`` is about the cache, not an answer of the service."""
    if isinstance(error, errors.RequestFailed | Unreachable | Missing):
        return False
    return not isinstance(error, GobblerError) or error.code in _UNUSABLE


def _reason(error: GobblerError | OSError) -> str:
    return error.reason if isinstance(error, GobblerError) else str(error.strerror)


def _fingerprint_of(data: bytes) -> Fingerprint:
    """A fingerprint of content that is in no file."""
    from gobbler.fs.hash import md5_of

    return Fingerprint(int(md5_of(data)[:15], 16), len(data), 0)


def _decode_summary(data: bytes, path: str) -> Summary:
    return decode(data, Summary, path)
