"""Archives: fetch many small files as one tar stream, if the service offers archives.

The client asks for an archive to find that out. It remembers in the cache for a day that a
service offers none.

The reader of the standard library takes longer for a small file than to fetch and store it.
:class:`Untar` reads what the service writes, files and directories with plain or pax headers,
and refuses everything else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from gobbler.client import errors
from gobbler.client.address import listed_path
from gobbler.client.arriving import ArrivingMd5
from gobbler.client.download import FILE_MODE, SMALL_FILE
from gobbler.client.http import Http, encoded
from gobbler.client.response import PIECE_BYTES, Response
from gobbler.client.transport_errors import NOT_A_SERVICE
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.sparse import append

TAR_BLOCK = 512

_HEADER_LIMIT = 1 << 20
"""Largest size of a pax header, in bytes."""

_MAGIC = b"ustar\x00"


class Member(NamedTuple):
    """A file or directory of an archive: its path there, and the number of bytes that follow."""

    path: str
    size: int
    is_directory: bool


class Untar:
    """The archive in ``chunks``; each of its members is ``top`` or below it.

    Iterate over the members, and read each file with :meth:`content` or :meth:`pieces` before
    the next member. Raises :class:`~gobbler.client.errors.BrokenOff` if the stream ends before
    the archive, and :class:`~gobbler.errors.Fault` for anything that is not such an archive.
    """

    def __init__(self, chunks: Iterable[bytes], top: str) -> None:
        self._chunks = iter(chunks)
        self._top = top
        self._buffer = b""
        self._at = 0
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        while (header := self._take(TAR_BLOCK)) != bytes(TAR_BLOCK):
            member = self._member(header)
            self._left = member.size
            yield member
            for _ in self.pieces():
                pass

    def content(self) -> bytes:
        """The content of the file."""
        size, self._left = self._left, 0
        return self._take(size + -size % TAR_BLOCK)[:size]

    def pieces(self) -> Iterator[bytes]:
        """The content of the file, piece by piece."""
        padding = -self._left % TAR_BLOCK
        while self._left:
            if self._at == len(self._buffer):
                self._more()
            piece = self._buffer[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            yield piece
        self._take(padding)

    def _take(self, count: int) -> bytes:
        stop = self._at + count
        if stop > len(self._buffer):
            parts = [self._buffer[self._at :]]
            missing = count - len(parts[0])
            while missing > 0:
                self._more()
                parts.append(self._buffer)
                missing -= len(self._buffer)
            self._at = len(self._buffer) + missing
            return b"".join(parts)[:count]
        taken = self._buffer[self._at : stop]
        self._at = stop
        return taken

    def _more(self) -> None:
        for chunk in self._chunks:
            if chunk:
                self._buffer, self._at = chunk, 0
                return
        raise errors.BrokenOff("the archive ended before it was complete", hint="Try again.")

    def _member(self, header: bytes) -> Member:
        records: dict[str, str] = {}
        kind = _checked(header)
        while kind == b"x":
            size = _number(header[124:136])
            if size > _HEADER_LIMIT:
                raise _unreadable("one of its headers is too long")
            records |= _pax(self._take(size + -size % TAR_BLOCK)[:size])
            header = self._take(TAR_BLOCK)
            kind = _checked(header)
        if kind not in (b"0", b"\0", b"5"):
            raise _unreadable("one of its members is neither a file nor a directory")
        path = records.get("path") or _path(header)
        size = _number(records.get("size") or header[124:136])
        is_directory = kind == b"5"
        return Member(self._inside(path, is_directory), 0 if is_directory else size, is_directory)

    def _inside(self, path: str, is_directory: bool) -> str:
        path = path.rstrip("/") if is_directory else path
        if path == self._top and is_directory:
            return ""
        if not path.startswith(self._top + "/"):
            raise _unreadable(f"its member {quoted(path)} would leave the directory")
        return listed_path(path[len(self._top) + 1 :])


def _checked(header: bytes) -> bytes:
    """The kind of the member that a header describes; raises if it is no header."""
    # The content is compared with the manifest, so the checksum of a header adds nothing.
    if header[257:263] != _MAGIC:
        raise _unreadable("it is not a tar archive")
    return header[156:157]


def _number(field: bytes | str) -> int:
    try:
        number = int(field) if isinstance(field, str) else int(field.rstrip(b" \0") or b"0", 8)
    except ValueError:
        number = -1
    if number < 0:
        raise _unreadable("one of its headers is damaged")
    return number


def _path(header: bytes) -> str:
    name = header[:100].rstrip(b"\0")
    if header[345]:
        name = header[345:500].rstrip(b"\0") + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """The records of a pax header: ``length key=value`` and a line feed, each."""
    found = {}
    while data:
        length, _, _ = data.partition(b" ")
        size = int(length) if length.isdigit() and len(length) < 8 else 0
        key, equals, value = data[len(length) + 1 : max(size - 1, 0)].partition(b"=")
        if not equals or data[size - 1 : size] != b"\n":
            raise _unreadable("one of its headers is damaged")
        found[key.decode("ascii", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[size:]
    return found


def _unreadable(problem: str) -> Fault:
    return Fault(
        f"the service's archive can't be read: {problem}",
        code=Code.INVALID_ANSWER,
        hint=NOT_A_SERVICE,
    )


MIN_FILES = 8
"""Number of small files for which an archive is faster than a request for each."""

MARKER_SECONDS = 24 * 3600
"""How long the client remembers that a service offers no archives; it may be upgraded."""

_MARKER = "no-archives"
_TYPES = ("application/x-tar", "application/tar")


class NoArchives(Exception):
    """The service offers no archives."""


class Sink(Protocol):
    """Receives the members of an archive; paths are relative to its top."""

    def expect_size(self, path: str, size: int) -> None:
        """Raise if a file of ``size`` bytes, which follows, can't be the one at ``path``."""

    def directory(self, path: str) -> None:
        """Receive a directory; its members follow later."""

    def small(self, path: str, data: bytes) -> None:
        """Receive a file with the content ``data``."""

    def large(self, path: str, file: Path, md5sum: str, size: int) -> None:
        """Receive a file with the content of ``file``, which the sink moves away."""


def offers_none(root: Path) -> bool:
    """Whether the service whose cache is ``root`` offered no archives within the last day."""
    try:
        return time.time() - (root / _MARKER).stat().st_mtime < MARKER_SECONDS
    except OSError:
        return False


def remember_none(root: Path) -> None:
    """Remember that the service whose cache is ``root`` offers no archives."""
    with contextlib.suppress(OSError):
        (root / _MARKER).touch()
        os.utime(root / _MARKER)


def unpack(http: Http, path: str, max_size: int | None, temp: Path, sink: Sink) -> None:
    """Pass all that is in the registry's directory ``path`` to ``sink``, links as files.

    Leaves out files larger than ``max_size`` bytes. ``temp`` is a directory for temporary
    files. Raises :class:`NoArchives`. If the connection breaks, what the sink has received
    is complete.
    """
    # The service need not compute the length: the end of an archive shows whether it is whole.
    params = {"length": "false"}
    if max_size is not None:
        params["max_size"] = str(max_size)
    with _requested(http, path, params) as response:
        untar = Untar(response.iter_content(PIECE_BYTES), path)
        number = itertools.count()
        for member in untar:
            if member.is_directory:
                sink.directory(member.path)
                continue
            sink.expect_size(member.path, member.size)
            if member.size <= SMALL_FILE:
                sink.small(member.path, untar.content())
            else:
                file = temp / f"large-{next(number)}"
                md5sum = _write(untar, file)
                sink.large(member.path, file, md5sum, member.size)


def _write(untar: Untar, file: Path) -> str:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        size = 0
        with ArrivingMd5() as digest:
            for piece in untar.pieces():
                digest.update(piece)
                append(descriptor, piece, size)
                size += len(piece)
            return digest.hexdigest()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _requested(http: Http, path: str, params: dict[str, str]) -> Iterator[Response]:
    endpoint = "/archive/" + encoded(path) + ".tar"
    with http.stream(endpoint, params=params, accept=(404, 405, 501)) as response:
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if response.status_code >= 300 or content_type not in _TYPES:
            raise NoArchives
        yield response
