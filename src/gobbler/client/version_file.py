"""Files of a version, opened for reading: they can be sought in, pickled and copied.

A pickled file opens itself again in the process that unpickles it, at the same position, and
only if it is still the same file.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

from gobbler.client.errors import NotThere
from gobbler.client.ranges import BUFFER_BYTES, FileChanged, RangesFile
from gobbler.client.registry_reader import RegistryReader
from gobbler.errors import quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import Entry


class VersionFile(io.BufferedReader):
    """An open file of bytes; ``version_path`` is its path in the version."""

    def __init__(
        self, raw: io.RawIOBase, size: int, reader: RegistryReader, key: VersionKey, path: str
    ) -> None:
        super().__init__(raw, size)
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
    raw = RangesFile(reader.ranges(key, path), key.file(path))
    return VersionFile(raw, BUFFER_BYTES, reader, key, path)


def open_here(reader: RegistryReader, key: VersionKey, path: str) -> VersionFile | None:
    """Open the file at :meth:`~RegistryReader.local_path`; ``None`` if there is none."""
    for _ in range(2):
        place = reader.local_path(key, path)
        if place is None:
            return None
        # Another process may just have pruned it from the cache, or removed it from the registry.
        with contextlib.suppress(FileNotFoundError):
            return VersionFile(io.FileIO(place), io.DEFAULT_BUFFER_SIZE, reader, key, path)
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
