"""Download one file: resume after a broken connection, and compare with the manifest.

A download has a directory of its own until it is complete::

    {directory}/
        content      the bytes received so far
        validator    the ETag or Last-Modified of the file that they belong to
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gobbler.client import errors
from gobbler.client.arriving import ArrivingMd5
from gobbler.client.expected import (
    content_problem,
    file_problem,
    md5_problem,
    mismatch,
    size_problem,
)
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop
from gobbler.client.response import PIECE_BYTES, Response
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.errors import quoted
from gobbler.fs.atomic_write import write_all
from gobbler.fs.record_file import damaged, record_limit
from gobbler.fs.space import reserve
from gobbler.fs.sparse import is_zeros
from gobbler.model.names import is_internal
from gobbler.model.progress import Progress
from gobbler.model.records import Entry

FILE_MODE = 0o444
"""Mode of files in the cache: they are shared, so a write by mistake must fail."""

SMALL_FILE = 1 << 20
"""Bytes up to which a file is fetched in one piece; a larger one can be resumed."""

CERTAIN_SECONDS = 2
"""Seconds after which a file that changes gets another time of modification, in whole seconds."""

_LENGTH = re.compile(r"[0-9]{1,19}")


class Downloaded(NamedTuple):
    """A file that was downloaded to ``path``.

    ``validator`` is the ETag or Last-Modified by which to ask later whether it is still the same;
    ``""`` if the service has none that is certain.
    """

    path: Path
    validator: str


def download(
    http: Http,
    path: str,
    directory: Path,
    entry: Entry | None,
    progress: Progress,
    stop: Stop,
) -> Downloaded:
    """Download the registry's file ``path`` into ``directory``.

    Resumes what an earlier attempt left in ``directory``. Compares the result with ``entry``,
    its entry in the manifest, if there is one; writes no more than its size. Raises
    :class:`~gobbler.client.expected.ContentMismatch` if it differs, also after a download from
    the start. After any other error the bytes received so far stay, for another attempt.
    """
    content = directory / "content"
    if entry is not None:
        here = content.stat().st_size if content.exists() else 0
        reserve(str(directory), entry.size - here)
    for last in (False, True):
        resumed = content.exists() and content.stat().st_size > 0
        with content.open("ab") as file, ArrivingMd5() as digest:
            file.seek(0, os.SEEK_END)
            progress.advance(0, file.tell())
            receiver = _Receiver(
                http, path, file, directory / "validator", entry, progress, stop, digest
            )
            problem = receiver.receive()
            if problem is None and entry is not None and digest.size == entry.size == file.tell():
                problem, is_compared = md5_problem(digest.hexdigest(), entry), True
            else:
                is_compared = False
        if problem is None and entry is not None and not is_compared:
            problem = file_problem(content, entry, stop)
        if problem is None:
            break
        # Bytes of two attempts may belong to two states of the file: start over once.
        progress.advance(0, -content.stat().st_size)
        content.unlink()
        if last or not (resumed or receiver.resumed):
            raise mismatch(path, problem)
    with optional_step("protect files of the cache against writing"):
        content.chmod(FILE_MODE)
    progress.advance(1, 0)
    return Downloaded(content, receiver.validator)


def download_small(http: Http, path: str, target: Path, entry: Entry, progress: Progress) -> None:
    """Fetch the registry's file ``path``, a small one, and write it to ``target``, a new file.

    Raises :class:`~gobbler.client.expected.ContentMismatch`, and writes nothing, if it is not
    what ``entry`` lists.
    """
    data = http.read_start(path, entry.size + 1)
    problem = content_problem(data, entry)
    if problem is not None:
        raise mismatch(path, problem)
    write_file(target, data)
    progress.advance(1, len(data))


def write_file(target: Path | str, data: bytes) -> None:
    """Create the file ``target`` of the cache with the content ``data``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(target, flags, FILE_MODE)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


class _Receiver:
    """Receives one file and appends it to ``file``.

    ``digest`` sees what is received, unless another attempt has left the beginning.
    """

    def __init__(
        self,
        http: Http,
        path: str,
        file: BinaryIO,
        validator: Path,
        entry: Entry | None,
        progress: Progress,
        stop: Stop,
        digest: ArrivingMd5,
    ) -> None:
        self._digest = digest
        self._entry = entry
        self._http = http
        self._path = path
        self._file = file
        self._validator = validator
        self._progress = progress
        self._stop = stop
        self.resumed = False
        self.validator = ""

    def receive(self) -> str | None:
        """Receive all of it, and connect again when the connection breaks.

        Returns the problem if it is larger than its entry, and ``None`` otherwise. Raises the
        error after several attempts in a row that received nothing.
        """
        failed, reached = 0, self._file.tell()
        while True:
            try:
                return self._once()
            except errors.NoAnswer as error:
                if self._file.tell() == 0 and not isinstance(error, errors.BrokenOff):
                    raise  # a connection that can't be opened has been tried several times
                if self._file.tell() >= reached + PIECE_BYTES:
                    # Without ranges each attempt starts over, and might do so forever.
                    failed, reached = 0 if self.resumed else failed, self._file.tell()
                failed += 1
                if failed == READ_ATTEMPTS:
                    raise
                self._stop.wait(read_pause(failed))

    def _once(self) -> str | None:
        headers = self._range()
        with self._http.stream(
            fetch_endpoint(self._path), headers=headers, accept=(416,)
        ) as response:
            if response.status_code == 416:
                # Nothing follows the bytes that are here, or they belong to another file.
                if not self._is_complete(response):
                    self._start_over()
                    raise errors.BrokenOff(
                        f"{quoted(self._path)} was replaced during its download", hint="Try again."
                    )
                return None
            if response.status_code == 206 and self._continues(response):
                self.resumed = True
            else:
                self._start_over()
                self._remember(response)
            self.validator = "" if is_encoded(response) else validator_of(response.headers)
            announced = self._announced(response)
            if self._entry is not None and (announced or 0) > self._entry.size:
                return size_problem(announced or 0, self._entry)
            is_record = self._entry is None and is_internal(os.path.basename(self._path))
            if is_record and (announced or 0) > record_limit(self._path):
                raise damaged(quoted(self._path), f"it has {announced} bytes")
            for chunk in response.iter_content(PIECE_BYTES):
                self._stop.check()
                if is_record and b"\0" in chunk:
                    raise damaged(quoted(self._path), "there is a NUL byte in it")
                if self._entry is not None and self._file.tell() + len(chunk) > self._entry.size:
                    return f"it has more than {self._entry.size} bytes"
                self._append(chunk)
                self._progress.advance(0, len(chunk))
            self._check_length(announced)
            return None

    def _append(self, chunk: bytes) -> None:
        if self._entry is not None and self._digest.size == self._file.tell():
            self._digest.update(chunk)
        if is_zeros(chunk):  # a hole takes no space
            self._file.truncate(self._file.tell() + len(chunk))
            self._file.seek(0, os.SEEK_END)
        else:
            self._file.write(chunk)

    def _range(self) -> dict[str, str]:
        if self._file.tell() == 0 or not self._validator.exists():
            return {}
        condition = self._validator.read_text("latin-1")
        return {"Range": f"bytes={self._file.tell()}-", "If-Range": condition}

    def _remember(self, response: Response) -> None:
        """Keep the header that identifies this state of the file, if there is one."""
        validator = response.headers.get("ETag", "W/")
        if validator.startswith("W/"):
            validator = response.headers.get("Last-Modified", "")
        if validator and not is_encoded(response):
            self._validator.write_text(validator, "latin-1")
        else:
            self._validator.unlink(missing_ok=True)

    def _start_over(self) -> None:
        self._progress.advance(0, -self._file.tell())
        self._file.seek(0)
        self._file.truncate()
        self._digest.reset()

    def _continues(self, response: Response) -> bool:
        found = response.headers.get("Content-Range", "")
        return found.startswith(f"bytes {self._file.tell()}-")

    def _is_complete(self, response: Response) -> bool:
        return response.headers.get("Content-Range") == f"bytes */{self._file.tell()}"

    def _announced(self, response: Response) -> int | None:
        """The size of the file in bytes, if the response says it."""
        if is_encoded(response):
            return None
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
        announced = whole or response.headers.get("Content-Length", "")
        return int(announced) if _LENGTH.fullmatch(announced) else None

    def _check_length(self, announced: int | None) -> None:
        size = self._file.tell()
        if announced is not None and size != announced:
            raise errors.BrokenOff(
                f"the connection broke after {size} of {announced} bytes of {quoted(self._path)}",
                hint="Try again: the download resumes.",
            )


def validator_of(headers: Mapping[str, str]) -> str:
    """The header by which to ask later whether a file is the same; ``""`` if there is none.

    A time says nothing about a file that may have changed twice within its second.
    """
    etag = headers.get("ETag", "W/")
    if not etag.startswith("W/"):
        return etag
    modified = headers.get("Last-Modified", "")
    from email.utils import parsedate_to_datetime

    try:
        age = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(modified)
    except (KeyError, TypeError, ValueError):
        return ""
    return modified if age.total_seconds() >= CERTAIN_SECONDS else ""


def is_encoded(response: Response) -> bool:
    """Whether a proxy compressed the body, so that its length is not that of the file."""
    return response.headers.get("Content-Encoding", "identity") != "identity"
