"""Fetching a directory of a registry: small files as one archive, large ones in parallel.

Everything that the manifest tells of is compared with it, and has to be there in the end.
What an archive did not bring, for whatever reason, is fetched file by file.
"""

from __future__ import annotations

import os
from pathlib import Path

from gobbler.client.archive import MANY, NoArchives, known_to_have_none, remember_none, unpack
from gobbler.client.cache.flush_queue import Settling
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import Workplace
from gobbler.client.download import (
    SMALL,
    damaged,
    download,
    download_small,
    write_file,
    wrong,
    wrong_content,
)
from gobbler.client.errors import NoAnswer
from gobbler.client.expected import Expected
from gobbler.client.http import Http
from gobbler.client.parallel import Stop, for_each
from gobbler.client.paths import digest, listed_path
from gobbler.client.source import RemoteSource
from gobbler.errors import Fault, quoted
from gobbler.model.names import MANIFEST
from gobbler.model.progress import Progress
from gobbler.model.records import Entry

LARGE = 8 << 20
"""Bytes above which a file is fetched by itself, so that it can go on where it broke off."""


class Tree:
    """The registry's directory ``path``, which is being fetched into ``target``.

    ``target`` is an empty directory. What is written stays behind when it fails.
    """

    def __init__(
        self,
        http: Http,
        path: str,
        target: Path,
        expected: Expected,
        objects: Objects,
        settling: Settling,
        place: Workplace,
        progress: Progress,
    ) -> None:
        self._http = http
        self._path = path
        self._target = str(target)
        self._expected = expected
        self._entries = expected.below(path)
        self._objects = objects
        self._is_first = objects.is_empty()
        self._settling = settling
        self._place = place
        self._progress = progress
        self._directories = {""}
        self._got: set[str] = set()

    def verified(self) -> list[tuple[str, Entry]]:
        """Path on this machine and entry of each file that was compared with its entry."""
        entries = self._entries
        return [(self._local(path), entries[path]) for path in self._got if path in entries]

    def fetch(self, root: Path, concurrent: int) -> None:
        """Fetch all of it, ``concurrent`` files at a time where they are fetched one by one.

        ``root`` is the cache of the service.
        """
        sizes = [entry.size for entry in self._entries.values() if not entry.is_directory]
        small = sum(size <= LARGE for size in sizes)
        complete = no_archives = False
        if small >= MANY and not known_to_have_none(root):
            self._progress.expect(len(sizes), sum(sizes))
            max_size = None if small == len(sizes) else LARGE
            try:
                unpack(self._http, self._path, max_size, self._place.path, self)
                complete = max_size is None
            except NoArchives:
                no_archives = True
            except NoAnswer:
                pass  # only what is missing is asked for again, each by itself
        if not complete:
            self._file_by_file(concurrent)
        if no_archives:  # ... though the version is there
            remember_none(root)
        self._complete()

    def directory(self, path: str) -> None:
        """Make a directory, with all that it is in."""
        if path not in self._directories:
            os.makedirs(self._local(path), exist_ok=True)
            self._directories.add(path)

    def small(self, path: str, data: bytes) -> None:
        """Store a small file."""
        entry = self._entries.get(path)
        if entry is not None and (problem := wrong(data, entry)):
            raise damaged(f"{self._path}/{path}", problem)
        if path == MANIFEST and self._path == self._expected.version:
            self._check_manifest(data)
        self.directory(path.rpartition("/")[0])
        local = self._local(path)
        if entry is None or self._is_first or not self._objects.reuse_same(entry, data, local):
            write_file(local, data)
        self._done(path, len(data), entry)

    def large(self, path: str, file: Path, md5sum: str, size: int) -> None:
        """Store a file that has been written."""
        entry = self._entries.get(path)
        if entry is not None:
            problem = wrong_content(md5sum, entry)
            if problem is not None:
                raise damaged(f"{self._path}/{path}", problem)
        if path == MANIFEST and self._path == self._expected.version:
            self._check_manifest(file.read_bytes())
        self.directory(os.path.dirname(path))
        file.rename(self._local(path))
        self._done(path, size, entry)

    def _file_by_file(self, concurrent: int) -> None:
        listed = RemoteSource(self._http).walk(self._path)
        for name in listed:
            self.directory(os.path.dirname(name))
        files = [name for name in listed if not name.endswith("/")]
        sizes = [entry.size for entry in self._entries.values()]
        self._progress.expect(len(files), sum(sizes) if sizes else None)
        for_each(self._fetch, [name for name in files if name not in self._got], concurrent)

    def _fetch(self, name: str, stop: Stop) -> None:
        path, local = f"{self._path}/{name}", self._local(name)
        entry = self._entries.get(name)
        if entry is not None and self._objects.reuse(entry, local, stop):
            self._progress.advance(1, entry.size)
        elif entry is not None and entry.size <= SMALL:
            download_small(self._http, path, Path(local), entry, self._progress)
        else:
            with self._place.part(digest(path)) as part:
                download(self._http, path, part, entry, self._progress, stop).rename(local)
        if name == MANIFEST and self._path == self._expected.version:
            self._check_manifest(Path(local).read_bytes())
        self._have(name, entry)

    def _check_manifest(self, content: bytes) -> None:
        if content != self._expected.content:
            raise self._changed()

    def _complete(self) -> None:
        for path, entry in self._entries.items():
            if entry.is_directory:
                self.directory(listed_path(path))
            elif path not in self._got:
                raise self._changed()

    def _changed(self) -> Fault:
        return Fault(
            f"{quoted(self._path)} has changed while it was fetched",
            hint="It may have been removed, or published anew; try again.",
        )

    def _local(self, path: str) -> str:
        return f"{self._target}/{path}"

    def _done(self, path: str, size: int, entry: Entry | None) -> None:
        self._have(path, entry)
        self._progress.advance(1, size)

    def _have(self, path: str, entry: Entry | None) -> None:
        self._got.add(path)
        if entry is not None:
            self._settling.add(self._local(path), entry)
