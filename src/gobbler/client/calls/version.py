"""A version as one thing, with all that can be asked of it."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Literal, TextIO, overload

from gobbler.client.address import LATEST, Address, parse_as, resolve
from gobbler.client.calls.contents import Contents
from gobbler.errors import Refused
from gobbler.model.names import VersionKey
from gobbler.model.progress import Progress
from gobbler.model.records import Entry, Link, Manifest, Summary
from gobbler.rules.diff import Difference, difference


@dataclass(frozen=True)
class Version:
    """One version of an asset, as ``client`` reads it; made by :meth:`Client.version`.

    ``str()`` of it is its address, ``project/asset/version``. What is not there, or not any
    more, is :class:`~gobbler.errors.Missing`, whichever call finds out.
    """

    key: VersionKey
    client: Contents = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.key.path

    @property
    def url(self) -> str:
        """The address for everything that reads through ``fsspec``, pandas for example."""
        return f"gobbler://{self.key.path}"

    def summary(self) -> Summary:
        """Who published it and when, and whether it is on probation."""
        return self.client.known(self.key).summary

    def manifest(self) -> Manifest:
        """Size in bytes, MD5 and link of everything in it, by path."""
        return self.client.known(self.key).manifest

    def files(self, below: str = "") -> dict[str, Entry]:
        """Its files by path, in order, or those in the directory ``below``.

        A directory that holds none has none; one that is not there has none either.
        """
        known = self.client.known(self.key)
        return dict(sorted(known.hierarchy.files(below.strip("/"))))

    def directory(self, path: str = "") -> dict[str, Entry | None]:
        """What is directly in it, or in its directory ``path``, by name and in order.

        ``None`` stands for a directory. Raises :class:`~gobbler.client.errors.NotThere`,
        or ``NotADirectoryError``.
        """
        path = path.strip("/")
        known = self.client.known(self.key)
        children = known.hierarchy.children(path)
        if children is None:
            known.entry(path)
            place = self.key.file(path)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
        return dict(sorted(children.items()))

    def links(self) -> dict[str, Link]:
        """What is stored elsewhere, and where: the links by path, in order."""
        files = sorted(self.manifest().items())
        return {path: entry.link for path, entry in files if entry.link is not None}

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
    ) -> IO[bytes] | IO[str]:
        """The file ``path``, opened for reading as text (``"r"``) or bytes (``"rb"``).

        It can be sought in, wherever it is: in the registry if that is mounted, in the
        cache, or with the service, from where only those parts come that are read. The
        latter is for files of more than 16 MiB, and for those of a version on probation.
        Text is UTF-8 unless ``encoding`` says otherwise; ``errors`` and ``newline`` are
        those of the built-in ``open``.
        """
        if mode not in ("r", "rt", "rb"):
            raise Refused(
                f"a file of a version can't be opened with the mode {mode!r}: it never changes",
                hint='Open it with "r" or "rb"; publish what is new with gobbler upload.',
            )
        file = self.client.open_binary(self.key, path)
        if mode == "rb":
            return file
        return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=newline)

    def fetch(
        self,
        path: str = "",
        *,
        overwrite: bool = False,
        concurrent: int = 4,
        progress: Progress | None = None,
    ) -> Path:
        """Where all of it, or the file or directory ``path``, is on this machine.

        In the registry if that is mounted, else in the cache, complete; read it, don't
        change it. With ``overwrite`` what is in the cache is fetched again, as it is
        anyway while the version is on probation.
        """
        path = path.strip("/")
        known = self.client.known(self.key)
        anew = overwrite or known.summary.on_probation
        full = self.key.file(path) if path else self.key.path
        if path and known.hierarchy.children(path) is None:
            known.entry(path)
            return Path(self.client.fetch_file(full, overwrite=anew, progress=progress))
        return Path(
            self.client.fetch_directory(
                full, overwrite=anew, concurrent=concurrent, progress=progress
            )
        )

    def diff(self, other: Version | Mapping[str, Entry]) -> Difference:
        """What was done to this version to make ``other``, which may be of another asset.

        Sizes, MD5s and links are compared as the manifests tell them; no file is read.
        """
        after = other.manifest() if isinstance(other, Version) else dict(other)
        return difference(self.manifest(), after)


class Versions(Contents):
    """The way to versions as things."""

    def version(self, project: str, asset: str, version: str = LATEST) -> Version:
        """A version by its names; without the last, the one that is the latest now.

        Raises :class:`~gobbler.errors.Missing` where there is no latest version. Whether
        one that is named is there is found out when something is asked of it.
        """
        place = resolve(self, Address(project, asset, version))
        return Version(VersionKey.checked(project, asset, place.version), self)

    def version_at(self, address: str) -> Version:
        """The version with the address ``project/asset/version``, or ``.../@latest``."""
        place = parse_as(address, "version")
        return self.version(place.project, place.asset, place.version)
