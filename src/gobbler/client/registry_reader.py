"""Reading a registry: records, whole files and directories, and parts of files.

One rule decides where to read a file of a version: in the registry if that is mounted; else in the
cache, by its MD5 in the manifest; else it is fetched into the cache, if it is small and final;
else by ranges over HTTP, all of one state of the file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, TypeVar

from gobbler.client.address import listed_path, registry_path
from gobbler.client.cache.cache import Cache
from gobbler.client.connection import Connection
from gobbler.client.errors import NotThere, RequestFailed
from gobbler.client.expected import ContentMismatch
from gobbler.client.notices import StepFailed, notify_once
from gobbler.client.parallel import ForkSafeLock
from gobbler.client.ranges import Ranges
from gobbler.errors import Code, Fault, GobblerError, Missing, Unreachable, quoted
from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.names import VersionKey, is_internal
from gobbler.model.progress import NoProgress, Progress
from gobbler.model.records import Entry, Manifest, Summary, decode, decode_manifest
from gobbler.rules.manifest import Hierarchy

T = TypeVar("T")

WHOLE_FILE = 16 << 20
"""Bytes up to which a file that is opened is fetched whole, and kept in the cache."""

VERSIONS_IN_MEMORY = 8
"""Versions whose records are kept in memory; a manifest can be large."""

RecordState = Fingerprint | Literal["final"] | Summary
"""Identifies one state of a version."""


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
        """Its summary; where the registry is mounted, read when it is first needed."""
        if self._summary is None:
            self._summary = self._read_summary()
        return self._summary

    @property
    def tree(self) -> Hierarchy:
        """Its directories."""
        if self._tree is None:
            for path in self.manifest:
                listed_path(path)
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
            listed_path(path)
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
        self._held: OrderedDict[VersionKey, tuple[RecordState, VersionRecords]] = OrderedDict()
        self._lock = ForkSafeLock()

    def __reduce__(self) -> tuple[type[RegistryReader], tuple[Connection]]:
        return RegistryReader, (self.connection,)

    # Records.

    def manifest(self, key: VersionKey, *, overwrite: bool = False) -> Manifest:
        """The manifest of a version, from the cache if it is there, unless ``overwrite``."""
        return self._record(key.manifest, overwrite, decode_manifest)

    def summary(self, key: VersionKey, *, overwrite: bool = False) -> Summary:
        """The summary of a version, from the cache if it is there, unless ``overwrite``.

        While the version is on probation, the summary is fetched again, since probation ends.
        """
        summary = self._record(key.summary, overwrite, _decode_summary)
        if summary.on_probation and not overwrite and self.connection.local is None:
            summary = self._record(key.summary, True, _decode_summary)
        return summary

    def _record(self, path: str, overwrite: bool, decode: Callable[[bytes, str], T]) -> T:
        """A record of the registry; one that is damaged in the cache is fetched again."""
        try:
            return decode(self._content(path, overwrite), path)
        except Fault:
            if overwrite or self.connection.local is not None:
                raise
            return decode(self._content(path, overwrite=True), path)

    def _content(self, path: str, overwrite: bool) -> bytes:
        """The content of a record; a cache that can't be used is no obstacle."""
        connection = self.connection
        if connection.local is not None:
            return connection.local.read(path)
        try:
            place = connection.cache.file(path, overwrite=overwrite, progress=NoProgress())
            with open(place, "rb") as file:
                return file.read()
        except (GobblerError, OSError) as error:
            if not is_unusable(error):
                raise
            notify_once(f"{_reason(error)}; records are not kept", StepFailed)
            return connection.http.read(path)

    def records(self, key: VersionKey) -> VersionRecords:
        """The records of a version, kept in memory as long as they are valid.

        Those of a final version are requested once. The summary of a version on probation is
        requested each time, since another version may be published under its name.
        """
        held = self.in_memory(key)
        if held is not None and held[0] == "final":
            return held[1]
        try:
            state = self._state(key)
            if held is not None and held[0] == state:
                return held[1]
            overwrite = isinstance(state, Summary)
            manifest = self.manifest(key, overwrite=overwrite)
            records = VersionRecords(key, manifest, functools.partial(self.summary, key))
            if self.connection.local is None:
                # Over HTTP, unlike in a mounted registry, it decides where files are read.
                records._summary = state if isinstance(state, Summary) else self.summary(key)
        except Missing:
            self.forget(key)
            raise
        with self._lock:
            self._held[key] = state, records
            self._held.move_to_end(key)
            while len(self._held) > VERSIONS_IN_MEMORY:
                self._held.popitem(last=False)
        return records

    def in_memory(self, key: VersionKey) -> tuple[RecordState, VersionRecords] | None:
        """The records in memory, and the state of the version that they describe."""
        with self._lock:
            return self._held.get(key)

    def _state(self, key: VersionKey) -> RecordState:
        local = self.connection.local
        if local is not None:
            return Fingerprint.of(os.stat(local.file(key.manifest)))
        summary = self.summary(key)
        return summary if summary.on_probation else "final"

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
            return local.directory(path)
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
            if not is_unusable(error) or not self.connection.replace_default_cache():
                raise
            notify_once(
                f"{_reason(error)}; using {quoted(self.connection.cache_directory)} instead",
                StepFailed,
            )
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
        """Return where a version (``path`` is empty), or a file or directory of it, can be read.

        Files of a version on probation are always fetched again.
        """
        full = key.file(path) if path else key.path
        is_directory = self.is_directory(key, path)
        if self.connection.local is None:
            overwrite = overwrite or self.records(key).summary.on_probation
        if is_directory:
            return self.fetch_directory(
                full, overwrite=overwrite, concurrent=concurrent, progress=progress
            )
        return self.fetch_file(full, overwrite=overwrite, progress=progress)

    # Parts of files.

    def local_path(self, key: VersionKey, path: str) -> str | None:
        """The path on this machine of the file ``path`` of a version, if there is one.

        The path is in the registry or in the cache. Fetches a file of up to 16 MiB into the cache
        if its version is final. ``None``: use :meth:`ranges`.
        """
        records = self.records(key)
        entry = records.entry(path)
        local = self.connection.local
        if local is not None:
            return local.file(key.file(path))
        cache = self.connection.cache
        try:
            kept = cache.find_content(entry)
            if kept is not None or entry.size > WHOLE_FILE or records.summary.on_probation:
                return kept
            return cache.file_with_entry(key.file(path), entry)
        except ContentMismatch:
            # The manifest in the cache may be that of another version of this name.
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
        overwrite = records.summary.on_probation
        whole = functools.partial(self.fetch_file, full, overwrite=overwrite)
        outdated = functools.partial(self._renew, key)
        return Ranges(self.connection.http, full, size, whole, outdated)

    def _renew(self, key: VersionKey) -> None:
        """Fetch the records of a version again, because another version has taken its place."""
        self.forget(key)
        with contextlib.suppress(GobblerError):
            self.summary(key, overwrite=True)
            self.manifest(key, overwrite=True)


_UNUSABLE = (Code.UNWRITABLE, Code.READ_ONLY, Code.DISK_FULL, Code.IO_ERROR)
"""Codes of a cache that can't be used, see :func:`~gobbler.client.cache.cache.cache_errors`."""


def is_unusable(error: GobblerError | OSError) -> bool:
    """Whether ``error`` is about the cache, not an answer of the service."""
    if isinstance(error, RequestFailed | Unreachable | Missing):
        return False
    return not isinstance(error, GobblerError) or error.code in _UNUSABLE


def _reason(error: GobblerError | OSError) -> str:
    return error.reason if isinstance(error, GobblerError) else str(error.strerror)


def _decode_summary(data: bytes, path: str) -> Summary:
    return decode(data, Summary, path)
