"""The files of a version as they are read: here, from the cache, or by parts over HTTP."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import threading
from collections import OrderedDict
from typing import BinaryIO, Literal, cast

from gobbler.client.calls.reads import Reads
from gobbler.client.errors import NotThere
from gobbler.client.expected import ContentMismatch
from gobbler.client.paths import listed_path
from gobbler.client.ranges import BUFFER, Ranges, RangesFile
from gobbler.errors import GobblerError, Missing, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry, Manifest, Summary
from gobbler.rules.manifest_tree import Hierarchy

WHOLE = 16 << 20
"""Bytes up to which a file that is opened is fetched whole, and kept in the cache."""

VERSIONS = 8
"""Whose records are kept in memory, since manifests can be large."""

Stamp = tuple[int, int, int] | Literal["final"] | Summary
"""What tells one state of a version from another."""


class Known:
    """What the records of a version say. It does not change."""

    def __init__(self, key: VersionKey, summary: Summary, manifest: Manifest) -> None:
        self.key = key
        self.summary = summary
        self.manifest = manifest

    @functools.cached_property
    def hierarchy(self) -> Hierarchy:
        """The directories of the version."""
        for path in self.manifest:
            listed_path(path)
        return Hierarchy(self.manifest)

    def entry(self, path: str) -> Entry:
        """The entry of the file ``path``.

        Raises :class:`~gobbler.client.errors.NotThere`, or ``IsADirectoryError``.
        """
        entry = self.manifest.get(path)
        if entry is not None and not entry.is_directory:
            return entry
        place = self.key.file(path)
        if self.hierarchy.children(path) is not None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), place)
        raise NotThere(
            f"{quoted(place)} is not in the registry",
            place,
            hint=f"See what there is: gobbler ls {self.key}",
        )


class Contents(Reads):
    """Opening files without having to know where they are."""

    @functools.cached_property
    def _versions(self) -> OrderedDict[VersionKey, tuple[Stamp, Known]]:
        return OrderedDict()

    @functools.cached_property
    def _versions_turn(self) -> threading.Lock:
        return threading.Lock()

    def known(self, key: VersionKey) -> Known:
        """The records of a version, kept in memory for as long as they hold.

        What is final is not asked for again. While a version is on probation its summary
        is: it may be removed, and another published under its name.
        """
        names = (key.project, key.asset, key.version)
        with self._versions_turn:
            held = self._versions.get(key)
        if held is not None and held[0] == "final":
            return held[1]
        try:
            stamp = self._stamp(key)
            if held is not None and held[0] == stamp:
                return held[1]
            anew = isinstance(stamp, Summary)
            summary = stamp if isinstance(stamp, Summary) else self.summary(*names)
            known = Known(key, summary, self.manifest(*names, overwrite=anew))
        except Missing:
            self.forget(key)
            raise
        with self._versions_turn:
            self._versions[key] = stamp, known
            self._versions.move_to_end(key)
            while len(self._versions) > VERSIONS:
                self._versions.popitem(last=False)
        return known

    def _stamp(self, key: VersionKey) -> Stamp:
        if self._local is not None:
            status = os.stat(self._local.file(key.manifest))
            return status.st_ino, status.st_mtime_ns, status.st_size
        summary = self.summary(key.project, key.asset, key.version)
        return summary if summary.on_probation else "final"

    def forget(self, key: VersionKey | None = None) -> None:
        """Ask for the records of a version, or of all versions, again when they are needed."""
        with self._versions_turn:
            if key is None:
                self._versions.clear()
            else:
                self._versions.pop(key, None)

    def place(self, key: VersionKey, path: str) -> str | None:
        """Where the file ``path`` of a version can be read on this machine, if it can.

        That is in the registry, or in the cache; a file of up to 16 MiB of a version that
        is final is put there. ``None``: by :meth:`ranges`.
        """
        known = self.known(key)
        entry = known.entry(path)
        if self._local is not None:
            return self._local.file(key.file(path))
        kept = self._cache.kept(entry)
        if kept is not None or entry.size > WHOLE or known.summary.on_probation:
            return kept
        try:
            return self._cache.known(key.file(path), entry)
        except ContentMismatch:
            # The manifest in the cache may be that of another version of this name.
            self.forget(key)
            return self.fetch_file(key.file(path), overwrite=True)
        except Missing:
            self.forget(key)
            raise

    def ranges(self, key: VersionKey, path: str) -> Ranges:
        """The file ``path`` of a version, to be read in parts over HTTP."""
        known = self.known(key)
        full, size = key.file(path), known.entry(path).size
        anew = known.summary.on_probation
        whole = functools.partial(self.fetch_file, full, overwrite=anew)
        return Ranges(self._http, full, size, whole, functools.partial(self._renew, key))

    def _renew(self, key: VersionKey) -> None:
        """Have the records of a version anew, which turned out to be of another."""
        self.forget(key)
        with contextlib.suppress(GobblerError):
            self.summary(key.project, key.asset, key.version, overwrite=True)
            self.manifest(key.project, key.asset, key.version, overwrite=True)

    def open_binary(self, key: VersionKey, path: str) -> BinaryIO:
        """The file ``path`` of a version, opened for reading; it can be sought in."""
        file = self.open_here(key, path)
        if file is not None:
            return file
        raw = RangesFile(self.ranges(key, path), key.file(path))
        return cast(BinaryIO, io.BufferedReader(raw, BUFFER))

    def open_here(self, key: VersionKey, path: str) -> BinaryIO | None:
        """The file at :meth:`place`, opened; ``None`` if it is to be read by ranges."""
        for _ in range(2):
            place = self.place(key, path)
            if place is None:
                return None
            # What was in the cache a moment ago may have been pruned; in a registry, removed.
            with contextlib.suppress(FileNotFoundError):
                return open(place, "rb")
        raise NotThere(f"{quoted(key.file(path))} is not in the registry any more", key.file(path))
