"""A version: files that never change."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO, cast, overload

from gobbler.client import source
from gobbler.client.handle import Handle, html_of
from gobbler.client.registry_reader import VersionRecords
from gobbler.client.version_path import VersionPath, VersionText, open_file
from gobbler.errors import Code, Missing, Refused
from gobbler.model.names import VersionKey
from gobbler.model.progress import Progress
from gobbler.model.records import Entry, Link, Manifest, Summary
from gobbler.rules.manifest import Difference, difference

if TYPE_CHECKING:
    from gobbler.client.asset import Asset
    from gobbler.client.relations import Relations
    from gobbler.client.shown_versions import Review


class Version(Handle):
    """A version of an asset, as a collection of the paths of its files.

    ::

        version = client.version("weather/stations/1.4")
        "berlin.csv" in version
        for path in version: ...
        with version.open("berlin.csv") as file: ...
        (version / "2026" / "berlin.csv").read_text()

    Methods raise :class:`~gobbler.errors.Missing` if there is no such version, or no more.
    """

    def __init__(self, asset: Asset, name: str) -> None:
        self.key = VersionKey(asset.key.project, asset.key.asset, name)
        super().__init__(asset._reader, self.key.path)
        self.asset = asset
        self.name = name

    @property
    def url(self) -> str:
        """The address for everything that reads through ``fsspec``, such as pandas."""
        return f"gobbler://{self.key.path}"

    def _repr_html_(self) -> str:
        held = self._reader.in_memory(self.key)
        facts = []
        if held is not None:
            files = [entry for entry in held[1].manifest.values() if not entry.is_directory]
            facts.append(f"{len(files)} files, {sum(entry.size for entry in files)} bytes")
        return html_of(self, self, self._reader.connection, *facts)

    # Content.

    def __iter__(self) -> Iterator[str]:
        return iter(self.files())

    def __len__(self) -> int:
        return sum(not entry.is_directory for entry in self.manifest().values())

    def __contains__(self, path: object) -> bool:
        entry = self.manifest().get(str(path)) if isinstance(path, str | VersionPath) else None
        return entry is not None and not entry.is_directory

    def __truediv__(self, path: str | os.PathLike[str]) -> VersionPath:
        return VersionPath(self, "") / path

    def exists(self) -> bool:
        """Whether the registry has this version."""
        try:
            self.summary()
        except Missing:
            return False
        return True

    def summary(self, *, overwrite: bool = False) -> Summary:
        """The summary: who published it and when, and whether it is on probation.

        With ``overwrite`` a copy in the cache is fetched again.
        """
        summary = self._reader.summary(self.key, overwrite=overwrite)
        self._reader.shown.summary(self.key, summary)
        return summary

    def manifest(self, *, overwrite: bool = False) -> Manifest:
        """Size in bytes, MD5 and link of everything in it, by path.

        With ``overwrite`` a copy in the cache is fetched again.
        """
        if not overwrite:
            return self._records().manifest
        self._reader.forget(self.key)
        manifest = self._reader.manifest(self.key, overwrite=True)
        self._reader.shown.manifest(self.key, manifest)
        return manifest

    def _records(self) -> VersionRecords:
        """The records, to be shown."""
        records = self._reader.records(self.key)
        self._reader.shown.manifest(self.key, records.manifest)
        return records

    def files(self, below: str = "") -> dict[str, Entry]:
        """Its files by path, in order, or those in the directory ``below`` and further down.

        A missing directory has no files.
        """
        return dict(sorted(self._records().tree.files(below.strip("/"))))

    def directory(self, path: str = "") -> dict[str, Entry | None]:
        """The entries of the version, or of its directory ``path``, by name and in order.

        ``None`` stands for a directory. Raises :class:`~gobbler.client.errors.NotThere`,
        or ``NotADirectoryError``.
        """
        path = path.strip("/")
        records = self._records()
        if not records.is_directory(path):
            place = self.key.file(path)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
        return dict(sorted((records.tree.children(path) or {}).items()))

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory of it; ``False`` for a file.

        Raises :class:`~gobbler.client.errors.NotThere` if it is neither.
        """
        return self._reader.is_directory(self.key, path.strip("/"))

    def links(self) -> dict[str, Link]:
        """The files that are stored elsewhere: their links by path, in order."""
        files = sorted(self.manifest().items())
        return {path: entry.link for path, entry in files if entry.link is not None}

    def list_files(self, prefix: str = "", *, internal: bool = True) -> list[str]:
        """Paths on disk that start with ``prefix``; empty directories end with a slash.

        Unlike :meth:`files`, this lists the storage itself, not the manifest; with ``internal``
        also the files of the service.
        """
        connection = self._reader.connection
        return source.files(connection.source, self.key, prefix, internal=internal)

    # Reading.

    @overload
    def open(self, path: str, mode: Literal["rb"]) -> BinaryIO: ...

    @overload
    def open(
        self,
        path: str,
        mode: Literal["r", "rt"] = "r",
        *,
        encoding: str = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> TextIO: ...

    def open(
        self,
        path: str,
        mode: str = "r",
        *,
        encoding: str = "utf-8",
        errors: str | None = None,
        newline: str | None = None,
    ) -> BinaryIO | TextIO:
        """Open the file ``path`` for reading, as text (``"r"``) or bytes (``"rb"``).

        You can seek in the file. It is in the registry if that is mounted, else in the cache. A
        file of more than 16 MiB, or of a version on probation, need not be: the service then sends
        only the parts that you read. An open file can be pickled and copied, and keeps its
        position.

        Text is UTF-8 unless ``encoding`` says otherwise; ``errors`` and ``newline`` are those of
        the built-in ``open``.
        """
        if mode not in ("r", "rt", "rb"):
            raise Refused(
                f"a file of a version can't be opened with the mode {mode!r}: it never changes",
                hint='Open it with "r" or "rb"; publish a new version with gobbler upload.',
            )
        file = open_file(self._reader, self.key, path)
        if mode == "rb":
            return cast(BinaryIO, file)
        return VersionText(file, encoding, errors, newline)

    def fetch(
        self,
        path: str = "",
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> Path:
        """Return where the version, or its file or directory ``path``, is on this machine.

        The path is in the registry if that is mounted, else in the cache, complete. Don't change
        anything there.

        Args:
            path: A file or directory of the version.
            overwrite: Fetch a copy in the cache again. A version on probation is always fetched
                again.
            concurrent: How many files are fetched at a time.
            progress: Receives the progress of a download.
        """
        if not path.strip("/"):
            self._records()
        return Path(
            self._reader.fetch(
                self.key,
                path.strip("/"),
                overwrite=overwrite,
                concurrent=concurrent,
                progress=progress,
            )
        )

    def clone(self, destination: str | os.PathLike[str]) -> None:
        """Build the tree of this version at ``destination`` from symlinks to its files.

        Start a new version this way: replace the links of the files that change, and upload.
        The registry must be mounted on this machine. Raises ``FileExistsError`` when a file
        stands where a link should.
        """
        connection = self._reader.connection
        if connection.local is None:
            raise Refused(
                f"the registry {connection.registry} is not a directory on this machine",
                code=Code.NOT_A_DIRECTORY,
                hint="A clone consists of links into the registry; fetch the version instead.",
            )
        from gobbler.client.export import clone

        clone(connection.registry, self.key, self.manifest(), os.fspath(destination))

    # Comparing and reviewing.

    def diff(self, other: Version | Mapping[str, Entry]) -> Difference:
        """The changes from this version to ``other``, which may be of another asset.

        Compares sizes, MD5s and links as the manifests list them; reads no file.
        """
        after = other.manifest() if isinstance(other, Version) else dict(other)
        return difference(self.manifest(), after)

    def relations(self) -> Relations:
        """Links of other versions to this one, and versions that share content with it.

        The service answers if it has an index. If it has none, this reads all manifests of the
        registry, if it is mounted here.
        """
        from gobbler.client.relations import relations

        return relations(self._reader, self.key)

    def review(self) -> Review:
        """The records as they are now, and their digest, which :meth:`approve` takes."""
        from gobbler.client.review import review

        return review(self._reader, self.key)

    def approve(self, *, reviewed: Review | str | None = None, spoof: str | None = None) -> None:
        """End the probation of this version: it is final.

        It also becomes the latest, if no other version finished after it. Approves only what was
        reviewed: if the version was rejected and uploaded again since, the service refuses.

        Args:
            reviewed: The result of :meth:`review`, or its digest. By default what this client has
                shown of the version last, or else what is there now.
            spoof: Act for another user.

        Raises:
            errors.RequestRefused: The code ``not-reviewed`` says that it is another version.
        """
        from gobbler.client.review import approved_digest

        digest = approved_digest(self._reader, self.key, reviewed)
        self._request("approve_probation", spoof=spoof, reviewed=digest)

    def reject(self, *, force: bool = False, spoof: str | None = None) -> None:
        """Remove this version, which is on probation, for good.

        ``force``: also if its records can't be read. ``spoof``: act for another user.
        """
        self._request("reject_probation", force=force, spoof=spoof)

    def _request(self, action: str, **fields: object) -> None:
        key = self.key
        self._reader.connection.request(
            action, project=key.project, asset=key.asset, version=key.version, **fields
        )
