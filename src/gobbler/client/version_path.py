"""Paths in a version: the methods of :class:`pathlib.Path` that read, and open files.

Open files can be sought in, pickled and copied. A pickled file opens itself again in the process
that unpickles it, at the same position, and only if it is still the same file.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO, overload

from gobbler.client.address import is_below
from gobbler.client.errors import NotThere
from gobbler.client.handle import html_of
from gobbler.client.ranges import BUFFER_BYTES, FileChanged, RangesFile
from gobbler.client.registry_reader import RegistryReader
from gobbler.errors import Code, Missing, Refused, printable, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry

if TYPE_CHECKING:
    from gobbler.client.version import Version


class VersionFile(io.BufferedReader):
    """An open file of bytes: ``version_path`` is its path in the version, ``size`` its size."""

    def __init__(
        self,
        raw: io.RawIOBase,
        buffer_size: int,
        reader: RegistryReader,
        key: VersionKey,
        path: str,
        size: int,
    ) -> None:
        super().__init__(raw, buffer_size)
        self.size = size
        self._reader = reader
        self._key = key
        self.version_path = path

    def __reduce_ex__(self, _: object) -> tuple[Callable[..., VersionFile], tuple[object, ...]]:
        if self.closed:
            raise ValueError("a closed file can't be pickled or copied")
        entry = self._reader.records(self._key).entry(self.version_path)
        return _reopen, (self._reader, self._key, self.version_path, entry, self.tell())

    def __copy__(self) -> VersionFile:
        function, arguments = self.__reduce_ex__(None)
        return function(*arguments)


class VersionText(io.TextIOWrapper):
    """An open file of text.

    You can't pickle it inside a loop over its lines: it has no position there (``tell()`` fails).
    """

    def __init__(
        self, file: VersionFile, encoding: str, errors: str | None, newline: str | None
    ) -> None:
        super().__init__(file, encoding=encoding, errors=errors, newline=newline)
        self._file = file
        self._newline = newline

    def __reduce_ex__(self, _: object) -> tuple[Callable[..., VersionText], tuple[object, ...]]:
        position = self.tell()
        return _reopen_text, (self._file, self.encoding, self.errors, self._newline, position)

    def __copy__(self) -> VersionText:
        position = self.tell()
        return _reopen_text(
            self._file.__copy__(), self.encoding, self.errors, self._newline, position
        )


def open_file(reader: RegistryReader, key: VersionKey, path: str) -> VersionFile:
    """Open the file ``path`` of a version for reading."""
    file = open_here(reader, key, path)
    if file is not None:
        return file
    ranges = reader.ranges(key, path)
    raw = RangesFile(ranges, key.file(path))
    return VersionFile(raw, BUFFER_BYTES, reader, key, path, ranges.size)


def open_here(reader: RegistryReader, key: VersionKey, path: str) -> VersionFile | None:
    """Open the file at :meth:`~RegistryReader.local_path`; ``None`` if there is none."""
    for _ in range(2):
        place = reader.local_path(key, path)
        if place is None:
            return None
        # Another process may just have pruned it from the cache, or removed it from the registry.
        with contextlib.suppress(FileNotFoundError):
            raw = io.FileIO(place)
            size = os.fstat(raw.fileno()).st_size
            return VersionFile(raw, io.DEFAULT_BUFFER_SIZE, reader, key, path, size)
    place = key.file(path)
    raise NotThere(f"{quoted(place)} is no longer in the registry", place)


def _reopen(
    reader: RegistryReader, key: VersionKey, path: str, entry: Entry, position: int
) -> VersionFile:
    now = reader.records(key).entry(path)
    if (now.size, now.md5sum) != (entry.size, entry.md5sum):
        raise FileChanged(key.file(path))
    file = open_file(reader, key, path)
    file.seek(position)
    return file


def _reopen_text(
    file: VersionFile, encoding: str, errors: str | None, newline: str | None, position: int
) -> VersionText:
    text = VersionText(file, encoding, errors, newline)
    text.seek(position)
    return text


class VersionPath:
    """A file or directory of a version: ``version / "2026" / "berlin.csv"``.

    ``str()`` returns the path in the version. If the path does not exist, methods that read it
    raise.
    """

    def __init__(self, version: Version, path: str) -> None:
        self.version = version
        self._path = path

    def __truediv__(self, path: str | os.PathLike[str]) -> VersionPath:
        path = os.fspath(path).rstrip("/")
        if not is_below(path):
            raise Refused(
                f"{quoted(path)} is not a path in a version",
                code=Code.INVALID_NAME,
                hint="Write it like 2026/berlin.csv, without . and ..",
            )
        return VersionPath(self.version, f"{self._path}/{path}" if self._path else path)

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return printable(f"<VersionPath {self._path} in {self.version}>")

    def _repr_html_(self) -> str:
        return html_of(self, self._path, self.version)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, VersionPath)
            and self._path == other._path
            and self.version == other.version
        )

    def __hash__(self) -> int:
        return hash((self._path, self.version))

    @property
    def name(self) -> str:
        """The last component."""
        return self._path.rpartition("/")[2]

    @property
    def parent(self) -> VersionPath:
        """The directory that it is in; that of the version itself is the version."""
        return VersionPath(self.version, self._path.rpartition("/")[0])

    @property
    def url(self) -> str:
        """The address for everything that reads through ``fsspec``, such as pandas."""
        return f"{self.version.url}/{self._path}".rstrip("/")

    def exists(self) -> bool:
        """Whether the version has a file or directory of that path."""
        return self._is_directory() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._is_directory() is False

    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self._is_directory() is True

    def _is_directory(self) -> bool | None:
        try:
            return self.version.is_directory(self._path)
        except Missing:
            return None

    def iterdir(self) -> Iterator[VersionPath]:
        """The entries of this directory."""
        return (self / name for name in self.version.directory(self._path))

    @overload
    def open(self, mode: Literal["rb"]) -> BinaryIO: ...

    @overload
    def open(self, mode: Literal["r", "rt"] = "r", *, encoding: str = ...) -> TextIO: ...

    def open(
        self, mode: Literal["r", "rt", "rb"] = "r", *, encoding: str = "utf-8"
    ) -> BinaryIO | TextIO:
        """Open the file for reading; see :meth:`Version.open`."""
        if mode == "rb":
            return self.version.open(self._path, mode)
        return self.version.open(self._path, mode, encoding=encoding)

    def read_bytes(self) -> bytes:
        """The content of the file."""
        with self.open("rb") as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of the file, as text."""
        with self.open(encoding=encoding) as file:
            return file.read()

    def fetch(self) -> Path:
        """Return where the file or directory is on this machine; see :meth:`Version.fetch`."""
        return self.version.fetch(self._path)
