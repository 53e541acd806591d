"""Downloading a file or a directory of a registry to a place that nobody looks at yet."""

from __future__ import annotations

import os
from pathlib import Path

from gobbler.client.http import Http
from gobbler.client.progress import Progress
from gobbler.client.remote import RemoteSource
from gobbler.client.workers import Stop, for_each


def download_file(http: Http, path: str, target: Path, progress: Progress, stop: Stop) -> None:
    """Write the registry's file ``path`` to ``target``, which must not exist.

    What is written stays behind when the download fails: remove it.
    """

    def advance(size: int) -> None:
        stop.check()
        progress.advance(0, size)

    with target.open("xb") as file:
        http.download(path, file, advance)
    progress.advance(1, 0)


def download_directory(
    http: Http, path: str, target: Path, concurrent: int, progress: Progress
) -> None:
    """Write the registry's directory ``path``, empty directories too, into ``target``.

    ``target`` is an empty directory; ``concurrent`` files are under way at a time. What is
    written stays behind when the download fails: remove it.
    """
    listed = RemoteSource(http).walk(path)
    files = [name for name in listed if not name.endswith("/")]
    for directory in sorted({os.path.dirname(name) for name in listed}):
        (target / directory).mkdir(parents=True, exist_ok=True)
    progress.expect(len(files), None)

    def fetch(name: str, stop: Stop) -> None:
        download_file(http, f"{path}/{name}", target / name, progress, stop)

    for_each(fetch, files, concurrent)
