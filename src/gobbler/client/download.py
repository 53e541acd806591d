"""Downloading one file: what breaks off goes on where it ended, what is wrong is found out.

While a file is under way it stands in a directory of its own::

    {directory}/
        content      as much as has come
        validator    which state of the file that is, as the service told
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, ClassVar

import requests

from gobbler.client.errors import BrokenOff, NoAnswer
from gobbler.client.http import Http, fetch_endpoint
from gobbler.client.parallel import Stop
from gobbler.client.retry import READ_ATTEMPTS, read_pause
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.atomic_write import write_all
from gobbler.fs.hash import hash_file, md5_of
from gobbler.model.progress import CancelCheck, Progress
from gobbler.model.records import Entry

PIECE = 1 << 17
"""Bytes that are taken from a connection at a time; when it breaks, fewer are lost."""

FILE_MODE = 0o444
"""What is in the cache is shared: whoever writes into it by mistake is told."""

SMALL = 1 << 20
"""Bytes of a file that is fetched at one go; what is left of a larger one is kept."""


class Damaged(Fault):
    """A file that was fetched is not what the manifest of its version lists."""

    default_code: ClassVar[Code] = Code.CONTENT_MISMATCH


def download(
    http: Http,
    path: str,
    directory: Path,
    entry: Entry | None,
    progress: Progress,
    stop: Stop,
) -> Path:
    """Have the registry's file ``path`` in ``directory``; answer its path there.

    It goes on with what an earlier attempt has left in ``directory``. What has come is
    compared with ``entry``, the file's in the manifest, if there is one: raises
    :class:`Damaged` where it differs, also after having begun anew. Whatever is raised, what
    has come until then stays, for another attempt.
    """
    content = directory / "content"
    for last in (False, True):
        resumed = content.exists() and content.stat().st_size > 0
        with content.open("ab") as file:
            file.seek(0, os.SEEK_END)
            progress.advance(0, file.tell())
            got = _Receiving(http, path, file, directory / "validator", progress, stop)
            got.receive()
        if entry is None:
            break
        problem = difference(content, entry, stop)
        if problem is None:
            break
        # What is glued together of two attempts may be wrong because of that.
        progress.advance(0, -content.stat().st_size)
        content.unlink()
        if last or not (resumed or got.resumed):
            raise damaged(path, problem)
    content.chmod(FILE_MODE)
    progress.advance(1, 0)
    return content


def download_small(http: Http, path: str, target: Path, entry: Entry, progress: Progress) -> None:
    """Write the registry's file ``path``, of a few bytes, to ``target``, which is not there.

    Raises :class:`Damaged` where it is not what ``entry`` says; nothing is written then.
    """
    data = http.read(path)
    problem = wrong(data, entry)
    if problem is not None:
        raise damaged(path, problem)
    write_file(target, data)
    progress.advance(1, len(data))


def write_file(target: Path | str, data: bytes) -> None:
    """Make the file ``target`` of the cache with the content ``data``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(target, flags, FILE_MODE)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def wrong(data: bytes, entry: Entry) -> str | None:
    """How ``data`` differs from what ``entry`` says; ``None`` if it does not."""
    if len(data) != entry.size:
        return f"it has {len(data)} bytes instead of {entry.size}"
    return wrong_content(md5_of(data), entry)


def difference(file: Path, entry: Entry, stop: Stop) -> str | None:
    """How the content of ``file`` differs from ``entry``; ``None`` if it does not."""
    with file.open("rb", buffering=0) as handle:
        length = os.fstat(handle.fileno()).st_size
        if length != entry.size:
            return f"it has {length} bytes instead of {entry.size}"
        _, md5sum = hash_file(handle.fileno(), CancelCheck(stop), length)
    return wrong_content(md5sum, entry)


def wrong_content(md5sum: str, entry: Entry) -> str | None:
    """What to say of content whose MD5 is ``md5sum``; ``None`` if it is as it should be."""
    if md5sum == entry.md5sum:
        return None
    return f"its MD5 is {md5sum} instead of {entry.md5sum}"


def damaged(path: str, problem: str) -> Damaged:
    """The error for a file that has come, but is not what the manifest says."""
    return Damaged(
        f"{quoted(path)} is not what the manifest of its version says: {problem}",
        hint="Try again. If it stays so, tell who runs the service: a proxy may have changed "
        "it on its way, or the registry is damaged (gobbler validate).",
    )


class _Receiving:
    """One file that is being received into ``file``, from where that ends."""

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
        """Receive all of it; a connection that breaks is made anew.

        It is given up after some attempts in a row that bring nothing.
        """
        failed, reached = 0, self._file.tell()
        while True:
            try:
                self._once()
                return
            except NoAnswer as error:
                if self._file.tell() == 0 and not isinstance(error, BrokenOff):
                    raise  # whoever makes connections has tried some times already
                if self._file.tell() >= reached + PIECE:
                    # If it always began anew, it might go on like this for ever.
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
                # There is nothing after what we have, or what we have is of something else.
                if not self._is_complete(response):
                    self._begin_anew()
                    raise BrokenOff(f"the service has another {quoted(self._path)} by now")
                return
            if response.status_code == 206 and self._goes_on(response):
                self.resumed = True
            else:
                self._begin_anew()
                self._remember(response)
            for chunk in response.iter_content(PIECE):
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
        """Keep what tells this state of the file from others, where that can be told."""
        told = response.headers.get("ETag", "W/")
        if told.startswith("W/"):
            told = response.headers.get("Last-Modified", "")
        if told and not is_encoded(response):
            self._validator.write_text(told, "latin-1")
        else:
            self._validator.unlink(missing_ok=True)

    def _begin_anew(self) -> None:
        self._progress.advance(0, -self._file.tell())
        self._file.seek(0)
        self._file.truncate()

    def _goes_on(self, response: requests.Response) -> bool:
        told = response.headers.get("Content-Range", "")
        return told.startswith(f"bytes {self._file.tell()}-")

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
                f"the download of {quoted(self._path)} ended after {size} of {announced} bytes",
                hint="The connection broke; try again.",
            )


def is_encoded(response: requests.Response) -> bool:
    """Whether a body was packed on its way, so that its length tells nothing."""
    return response.headers.get("Content-Encoding", "identity") != "identity"
