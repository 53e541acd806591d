"""Reading parts of a file over HTTP, without fetching the whole of it."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from collections.abc import Callable
from typing import ClassVar

import requests

from gobbler.client.errors import BrokenOff
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.errors import Code, Fault, quoted

BUFFER = 1 << 20
"""Bytes that are asked for at a time by whoever reads on and on."""


class Changed(Fault, OSError):
    """Another file has taken the place of the one that was opened; ``errno`` is ``ESTALE``."""

    default_code: ClassVar[Code] = Code.CONTENT_CHANGED

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{quoted(path)} was replaced while it was open",
            hint="Its version was removed and published again. Open the file again.",
        )
        self.errno = errno.ESTALE
        self.filename = path


class Ranges:
    """The registry's file ``path``, of ``size`` bytes, behind ``http``.

    All parts come from one state of the file: raises :class:`Changed` if it is replaced
    meanwhile. Where something on the way knows no ranges, ``whole`` is called once and
    answers where a copy of the file is; ``outdated`` is called before :class:`Changed` is
    raised. Safe to share between threads.
    """

    def __init__(
        self,
        http: Http,
        path: str,
        size: int,
        whole: Callable[[], str],
        outdated: Callable[[], None],
    ) -> None:
        self._http = http
        self._path = path
        self.size = size
        self._whole = whole
        self._outdated = outdated
        self._condition: dict[str, str] = {}
        self._copy: str | None = None
        self._turn = threading.Lock()

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``, which is not among them."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._copy is None:
            for attempt in range(1, READ_ATTEMPTS + 1):
                try:
                    part = self._ask(start, stop)
                except BrokenOff:
                    if attempt == READ_ATTEMPTS:
                        raise
                    time.sleep(read_pause(attempt))
                else:
                    if part is not None:
                        return part
                    break
        return self._from_copy(start, stop)

    def _ask(self, start: int, stop: int) -> bytes | None:
        """Those bytes, or ``None`` if the answer would be the whole file."""
        headers = {"Range": f"bytes={start}-{stop - 1}", **self._condition}
        with self._http.stream(
            fetch_endpoint(self._path), headers=headers, accept=(412, 416)
        ) as response:
            if response.status_code == 200:
                return None
            told = response.headers.get("Content-Range")
            if response.status_code != 206 or told != f"bytes {start}-{stop - 1}/{self.size}":
                raise self._changed()
            part = response.content
            if len(part) != stop - start:
                raise BrokenOff(
                    f"{len(part)} of {stop - start} bytes of {quoted(self._path)} came",
                    hint="The connection broke; try again.",
                )
            if not self._condition:
                self._condition = _condition(response)
            return part

    def _from_copy(self, start: int, stop: int) -> bytes:
        with self._turn:
            if self._copy is None:
                self._copy = self._whole()
        with open(self._copy, "rb") as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise self._changed()
            file.seek(start)
            return file.read(stop - start)

    def _changed(self) -> Changed:
        self._outdated()
        return Changed(self._path)


def _condition(response: requests.Response) -> dict[str, str]:
    """What later requests say so that they are about the same state of the file."""
    etag = response.headers.get("ETag", "W/")
    if not etag.startswith("W/"):
        return {"If-Match": etag}
    modified = response.headers.get("Last-Modified")
    return {"If-Unmodified-Since": modified} if modified else {}


class RangesFile(io.RawIOBase):
    """``ranges`` as a file that can be read and sought in; ``name`` is for people."""

    def __init__(self, ranges: Ranges, name: str) -> None:
        super().__init__()
        self._ranges = ranges
        self._at = 0
        self.name = name

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go ``offset`` bytes on from the start, from here or from the end."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ranges.size}
        at = base[whence] + offset
        if at < 0:
            raise ValueError(f"there is no place {at} in a file")
        self._at = at
        return at

    def tell(self) -> int:
        """Where the next byte is read, in bytes from the start."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read as much as there is and fits into ``buffer``; answer how much."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        part = self._ranges.read(self._at, self._at + len(view))
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def readall(self) -> bytes:
        """Read all that is left, at one go."""
        self._check_open()
        part = self._ranges.read(self._at, self._ranges.size)
        self._at += len(part)
        return part

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
