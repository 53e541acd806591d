"""Range requests: read parts of a file over HTTP without fetching all of it."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable
from typing import ClassVar

from gobbler.client import errors
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.parallel import ForkSafeLock
from gobbler.client.response import Response
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.errors import Code, Fault, quoted

BUFFER_BYTES = 1 << 20
"""Bytes that a sequential reader requests at a time."""


class FileChanged(Fault, OSError):
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
    """The registry's file ``path``, of ``size`` bytes, at the service ``http``.

    All parts come from one state of the file: raises :class:`FileChanged` if it was replaced, after
    a call of ``outdated``. If the service or a proxy ignores ranges, ``whole`` is called once,
    and returns the path of a copy of the file. Threads may share it, it may be used in a forked
    child, and it can be pickled if ``whole`` and ``outdated`` can.
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
        self._lock = ForkSafeLock()

    def __getstate__(self) -> dict[str, object]:
        # A copy on this machine need not exist where it is unpickled.
        return self.__dict__ | {"_lock": None, "_copy": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = ForkSafeLock()

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to, but not including, ``stop``."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._copy is None:
            for attempt in range(1, READ_ATTEMPTS + 1):
                try:
                    part = self._request(start, stop)
                except errors.BrokenOff:
                    if attempt == READ_ATTEMPTS:
                        raise
                    time.sleep(read_pause(attempt))
                else:
                    if part is not None:
                        return part
                    break
        return self._from_copy(start, stop)

    def _request(self, start: int, stop: int) -> bytes | None:
        """Those bytes, or ``None`` if the service ignores ranges."""
        headers = {"Range": f"bytes={start}-{stop - 1}", **self._condition}
        with self._http.stream(
            fetch_endpoint(self._path), headers=headers, accept=(412, 416)
        ) as response:
            if response.status_code == 200:
                return None
            found = response.headers.get("Content-Range")
            if response.status_code != 206 or found != f"bytes {start}-{stop - 1}/{self.size}":
                raise self._changed()
            part = response.content
            if len(part) != stop - start:
                raise errors.BrokenOff(
                    f"the connection broke after {len(part)} of {stop - start} bytes of "
                    f"{quoted(self._path)}",
                    hint="Try again.",
                )
            if not self._condition:
                self._condition = _condition(response)
            return part

    def _from_copy(self, start: int, stop: int) -> bytes:
        with self._lock:
            if self._copy is None:
                self._copy = self._whole()
        with open(self._copy, "rb") as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise self._changed()
            file.seek(start)
            return file.read(stop - start)

    def _changed(self) -> FileChanged:
        self._outdated()
        return FileChanged(self._path)


def _condition(response: Response) -> dict[str, str]:
    """The headers that bind later requests to the same state of the file."""
    etag = response.headers.get("ETag", "W/")
    if not etag.startswith("W/"):
        return {"If-Match": etag}
    modified = response.headers.get("Last-Modified")
    return {"If-Unmodified-Since": modified} if modified else {}


class RangesFile(io.RawIOBase):
    """``ranges`` as a seekable file; ``name`` is what messages show."""

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
        """Move to ``offset`` bytes from the start, from here or from the end."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ranges.size}
        at = base[whence] + offset
        if at < 0:
            raise ValueError(f"can't seek to {at}: it is before the start of the file")
        self._at = at
        return at

    def tell(self) -> int:
        """The position of the next read, in bytes from the start."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read into ``buffer``; return the number of bytes, 0 at the end of the file."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        part = self._ranges.read(self._at, self._at + len(view))
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def readall(self) -> bytes:
        """Read all that is left in one request."""
        self._check_open()
        part = self._ranges.read(self._at, self._ranges.size)
        self._at += len(part)
        return part

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
