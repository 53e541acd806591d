"""A path in a version, with the methods of :class:`pathlib.Path` that read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO, overload

from gobbler.client.handle import html_of
from gobbler.client.paths import is_below
from gobbler.errors import Code, Missing, Refused, quoted

if TYPE_CHECKING:
    from gobbler.client.version import Version


class VersionPath:
    """A file or directory of a version: ``version / "2026" / "berlin.csv"``.

    ``str()`` of it is the path in the version. Whether anything is there shows when a method
    reads it.
    """

    def __init__(self, version: Version, path: str) -> None:
        self.version = version
        self._path = path

    def __truediv__(self, path: str) -> VersionPath:
        path = path.rstrip("/")
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
        return f"<VersionPath {self._path} in {self.version}>"

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
        """What is directly in this directory."""
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
