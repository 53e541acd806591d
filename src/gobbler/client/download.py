"""Download one file: resume after a broken connection, and compare with the manifest.

A download has a directory of its own until it is complete::

    {directory}/
        content      the bytes received so far
        validator    the ETag or Last-Modified of the file that they belong to
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import requests

from gobbler.client.errors import BrokenOff, NoAnswer
from gobbler.client.expected import content_problem, file_problem, mismatch
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.errors import quoted
from gobbler.fs.atomic_write import write_all
from gobbler.model.progress import Progress
from gobbler.model.records import Entry

PIECE_BYTES = 1 << 17
"""Bytes to read from a connection at a time; no more are lost when it breaks."""

FILE_MODE = 0o444
"""Mode of files in the cache: they are shared, so a write by mistake must fail."""

SMALL_FILE = 1 << 20
"""Bytes up to which a file is fetched in one piece; a larger one can be resumed."""


def download(
    http: Http,
    path: str,
    directory: Path,
    entry: Entry | None,
    progress: Progress,
    stop: Stop,
) -> Path:
    """Download the registry's file ``path`` into ``directory``; return its path there.

    Resumes what an earlier attempt left in ``directory``. Compares the result with ``entry``,
    its entry in the manifest, if there is one. Raises
    :class:`~gobbler.client.expected.ContentMismatch` if it differs, also after a download from
    the start. After any other error the bytes received so far stay, for another attempt.
    """
    content = directory / "content"
    for last in (False, True):
        resumed = content.exists() and content.stat().st_size > 0
        with content.open("ab") as file:
            file.seek(0, os.SEEK_END)
            progress.advance(0, file.tell())
            receiver = _Receiver(http, path, file, directory / "validator", progress, stop)
            receiver.receive()
        if entry is None:
            break
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
    return content


def download_small(http: Http, path: str, target: Path, entry: Entry, progress: Progress) -> None:
    """Fetch the registry's file ``path``, a small one, and write it to ``target``, a new file.

    Raises :class:`~gobbler.client.expected.ContentMismatch`, and writes nothing, if it is not
    what ``entry`` lists.
    """
    data = http.read(path)
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
    """Receives one file and appends it to ``file``."""

    def __init__(
        self,
        http: Http,
        path: str,
        file: BinaryIO,
        validator: Path,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self._http = http
        self._path = path
        self._file = file
        self._validator = validator
        self._progress = progress
        self._stop = stop
        self.resumed = False

    def receive(self) -> None:
        """Receive all of it, and connect again when the connection breaks.

        Raises the error after several attempts in a row that received nothing.
        """
        failed, reached = 0, self._file.tell()
        while True:
            try:
                self._once()
                return
            except NoAnswer as error:
                if self._file.tell() == 0 and not isinstance(error, BrokenOff):
                    raise  # a connection that can't be opened has been tried several times
                if self._file.tell() >= reached + PIECE_BYTES:
                    # Without ranges each attempt starts over, and might do so forever.
                    failed, reached = 0 if self.resumed else failed, self._file.tell()
                failed += 1
                if failed == READ_ATTEMPTS:
                    raise
                self._stop.wait(read_pause(failed))

    def _once(self) -> None:
        headers = self._range()
        with self._http.stream(
            fetch_endpoint(self._path), headers=headers, accept=(416,)
        ) as response:
            if response.status_code == 416:
                # Nothing follows the bytes that are here, or they belong to another file.
                if not self._is_complete(response):
                    self._start_over()
                    raise BrokenOff(
                        f"{quoted(self._path)} was replaced during its download", hint="Try again."
                    )
                return
            if response.status_code == 206 and self._continues(response):
                self.resumed = True
            else:
                self._start_over()
                self._remember(response)
            for chunk in response.iter_content(PIECE_BYTES):
                self._stop.check()
                self._file.write(chunk)
                self._progress.advance(0, len(chunk))
            self._check_length(response)

    def _range(self) -> dict[str, str]:
        if self._file.tell() == 0 or not self._validator.exists():
            return {}
        condition = self._validator.read_text("latin-1")
        return {"Range": f"bytes={self._file.tell()}-", "If-Range": condition}

    def _remember(self, response: requests.Response) -> None:
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

    def _continues(self, response: requests.Response) -> bool:
        found = response.headers.get("Content-Range", "")
        return found.startswith(f"bytes {self._file.tell()}-")

    def _is_complete(self, response: requests.Response) -> bool:
        return response.headers.get("Content-Range") == f"bytes */{self._file.tell()}"

    def _check_length(self, response: requests.Response) -> None:
        if is_encoded(response):
            return
        size = self._file.tell()
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
        announced = whole or response.headers.get("Content-Length")
        if announced is not None and announced.isdigit() and size != int(announced):
            raise BrokenOff(
                f"the connection broke after {size} of {announced} bytes of {quoted(self._path)}",
                hint="Try again: the download resumes.",
            )


def is_encoded(response: requests.Response) -> bool:
    """Whether a proxy compressed the body, so that its length is not that of the file."""
    return response.headers.get("Content-Encoding", "identity") != "identity"
