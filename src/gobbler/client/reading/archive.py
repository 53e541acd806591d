"""Fetching many small files as one archive, from services that have archives.

Whether a service has them is found out by asking for one. That it has not is remembered in
the cache for a day, so that not every fetch asks in vain.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import requests

from gobbler.client.connecting.http import Http
from gobbler.client.reading.download import FILE_MODE, PIECE, SMALL
from gobbler.client.reading.untar import Untar
from gobbler.disk.writing import write_all

MANY = 8
"""Small files from which on an archive is faster than one request for each."""

FORGOTTEN_SECONDS = 24 * 3600
"""How long it is remembered that a service has no archives; it may get a new release."""

_MARKER = "no-archives"
_TYPES = ("application/x-tar", "application/tar")


class NoArchives(Exception):
    """The service does not know what an archive is."""


class Sink(Protocol):
    """Takes what is in an archive; paths are relative to its top."""

    def directory(self, path: str) -> None:
        """There is such a directory; what is in it comes later."""

    def small(self, path: str, data: bytes) -> None:
        """There is such a file, with that content."""

    def large(self, path: str, file: Path, md5sum: str, size: int) -> None:
        """There is such a file; its content is in ``file``, which goes to the sink."""


def known_to_have_none(root: Path) -> bool:
    """Whether the service whose cache is ``root`` had no archives within the last day."""
    try:
        return time.time() - (root / _MARKER).stat().st_mtime < FORGOTTEN_SECONDS
    except OSError:
        return False


def remember_none(root: Path) -> None:
    """Remember that the service whose cache is ``root`` has no archives."""
    with contextlib.suppress(OSError):
        (root / _MARKER).touch()
        os.utime(root / _MARKER)


def unpack(http: Http, path: str, max_size: int | None, temp: Path, sink: Sink) -> None:
    """Give all in the registry's directory ``path`` to ``sink``, links as files.

    Files larger than ``max_size`` bytes are left out. ``temp`` is a directory for what is
    under way. Raises :class:`NoArchives`; what a broken connection raises says nothing about
    what the sink has got until then, which is whole.
    """
    # Where the stream ends too early, the archive's own end is missing.
    params = {"length": "false"}
    if max_size is not None:
        params["max_size"] = str(max_size)
    with _asked(http, path, params) as response:
        untar = Untar(response.iter_content(PIECE), path)
        number = itertools.count()
        for member in untar:
            if member.is_directory:
                sink.directory(member.path)
            elif member.size <= SMALL:
                sink.small(member.path, untar.content())
            else:
                file = temp / f"large-{next(number)}"
                md5sum = _write(untar, file)
                sink.large(member.path, file, md5sum, member.size)


def _write(untar: Untar, file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        for piece in untar.pieces():
            digest.update(piece)
            write_all(descriptor, piece)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


@contextlib.contextmanager
def _asked(http: Http, path: str, params: dict[str, str]) -> Iterator[requests.Response]:
    endpoint = "/archive/" + quote(path, safe="/") + ".tar"
    with http.stream(endpoint, params=params, accept=(404, 405, 501)) as response:
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if response.status_code >= 300 or content_type not in _TYPES:
            raise NoArchives
        yield response
