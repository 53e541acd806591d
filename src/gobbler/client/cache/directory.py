"""Fetch a directory of a registry: small files as one archive, large ones in parallel.

Every file is compared with the manifest, and every file of the manifest must be there at the
end. What an archive lacks is fetched file by file. Files are flushed while others are fetched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from gobbler.client import errors
from gobbler.client.address import digest, listed_path
from gobbler.client.archive import MIN_FILES, NoArchives, offers_none, remember_none, unpack
from gobbler.client.cache.objects import Objects
from gobbler.client.cache.partial import Scratch, partials
from gobbler.client.download import SMALL_FILE, download, download_small, write_file
from gobbler.client.expected import (
    Expected,
    content_problem,
    md5_problem,
    mismatch,
    size_problem,
)
from gobbler.client.http import Http
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop, for_each
from gobbler.client.source import RemoteSource
from gobbler.client.transport_errors import NOT_A_SERVICE
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.directories import make_directories
from gobbler.fs.flush import Durability, flush_filesystem
from gobbler.fs.lease import RENEW_SECONDS
from gobbler.fs.space import fits, reserve
from gobbler.model.names import MANIFEST
from gobbler.model.progress import Progress
from gobbler.model.records import Entry

LARGE_FILE = 8 << 20
"""Size in bytes above which a file is fetched on its own, so that it can be resumed."""

FLUSHED_FILES = 1024
"""Number of files that are worth a flush."""


class DirectoryFetch:
    """Fetches the registry's directory ``path`` into the empty directory ``target``.

    After an error the files fetched so far stay in ``target``.
    """

    def __init__(
        self,
        http: Http,
        path: str,
        target: Path,
        expected: Expected,
        objects: Objects,
        flush_queue: FlushQueue,
        scratch: Scratch,
        progress: Progress,
    ) -> None:
        self._http = http
        self._path = path
        self._target = str(target)
        self._expected = expected
        self._entries = expected.below(path)
        self._objects = objects
        self._is_first = objects.is_empty()
        self._flush_queue = flush_queue
        self._scratch = scratch
        self._progress = progress
        self._directories = {""}
        self._fetched: set[str] = set()

    def verified(self) -> list[tuple[str, Entry]]:
        """The path on this machine and the entry of each file that was fetched and compared."""
        entries = self._entries
        return [(self._local(path), entries[path]) for path in self._fetched if path in entries]

    def fetch(self, root: Path, concurrent: int) -> None:
        """Fetch all of it; without an archive, ``concurrent`` files at a time.

        ``root`` is the cache of the service.
        """
        try:
            self._fetch_all(root, concurrent)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            # The directory is new: only the service can have sent something as both.
            if error.filename2 or not error.filename.startswith(self._target + "/"):
                raise
            name = os.path.relpath(error.filename, self._target)
            raise contradictory(self._path, name) from error

    def _check_space(self, root: Path, total: int) -> None:
        """Raise ``OSError`` if what is missing will not fit on the disk."""
        if fits(str(root), total):
            return
        missing = {
            (entry.md5sum, entry.size)
            for entry in self._entries.values()
            if self._objects.find_content(entry) is None
        }
        kept = 0
        for part in partials(root):
            with suppress(OSError):
                kept += (part / "content").stat().st_size
        reserve(str(root), sum(size for _, size in missing) - kept)

    def _fetch_all(self, root: Path, concurrent: int) -> None:
        sizes = [entry.size for entry in self._entries.values() if not entry.is_directory]
        self._check_space(root, sum(sizes))
        small = sum(size <= LARGE_FILE for size in sizes)
        complete = no_archives = False
        if small >= MIN_FILES and not offers_none(root):
            self._progress.expect(len(sizes), sum(sizes))
            max_size = None if small == len(sizes) else LARGE_FILE
            try:
                unpack(self._http, self._path, max_size, self._scratch.path, self)
                complete = max_size is None
            except NoArchives:
                no_archives = True
            except errors.NoAnswer:
                pass  # what is missing is fetched file by file
        if not complete:
            self._file_by_file(concurrent)
        if no_archives:  # although the version is there
            remember_none(root)
        self._complete()

    def directory(self, path: str) -> None:
        """Make a directory and its parents."""
        if path not in self._directories:
            make_directories(self._local(path))
            self._directories.add(path)

    def expect_size(self, path: str, size: int) -> None:
        """Refuse a file that came before, or whose size is not the one in the manifest."""
        entry = self._entries.get(path)
        if path in self._fetched:
            raise contradictory(self._path, path)
        if entry is not None and entry.size != size:
            raise mismatch(f"{self._path}/{path}", size_problem(size, entry))

    def small(self, path: str, data: bytes) -> None:
        """Store a small file."""
        entry = self._entries.get(path)
        if entry is not None and (problem := content_problem(data, entry)):
            raise mismatch(f"{self._path}/{path}", problem)
        if path == MANIFEST and self._path == self._expected.version:
            self._check_manifest(data)
        self.directory(path.rpartition("/")[0])
        local = self._local(path)
        if entry is None or self._is_first or not self._objects.reuse_same(entry, data, local):
            write_file(local, data)
        self._finish(path, len(data), entry)

    def large(self, path: str, file: Path, md5sum: str, size: int) -> None:
        """Store a file that has been written."""
        entry = self._entries.get(path)
        if entry is not None:
            problem = md5_problem(md5sum, entry)
            if problem is not None:
                raise mismatch(f"{self._path}/{path}", problem)
        if path == MANIFEST and self._path == self._expected.version:
            self._check_manifest(file.read_bytes())
        self.directory(os.path.dirname(path))
        file.rename(self._local(path))
        self._finish(path, size, entry)

    def _file_by_file(self, concurrent: int) -> None:
        listed = RemoteSource(self._http).walk(self._path)
        for name in listed:
            self.directory(os.path.dirname(name))
        files = [name for name in listed if not name.endswith("/")]
        sizes = [entry.size for entry in self._entries.values()]
        self._progress.expect(len(files), sum(sizes) if sizes else None)
        for_each(self._fetch, [name for name in files if name not in self._fetched], concurrent)

    def _fetch(self, name: str, stop: Stop) -> None:
        path, local = f"{self._path}/{name}", self._local(name)
        entry = self._entries.get(name)
        if entry is not None and self._objects.reuse(entry, local, stop):
            self._progress.advance(1, entry.size)
        elif entry is not None and entry.size <= SMALL_FILE:
            download_small(self._http, path, Path(local), entry, self._progress)
        else:
            with self._scratch.part(digest(path)) as part:
                found = download(self._http, path, part, entry, self._progress, stop)
                found.path.rename(local)
        if name == MANIFEST and self._path == self._expected.version:
            self._check_manifest(Path(local).read_bytes())
        self._add(name, entry)

    def _check_manifest(self, content: bytes) -> None:
        if content != self._expected.content:
            raise self._changed()

    def _complete(self) -> None:
        for path, entry in self._entries.items():
            if entry.is_directory:
                self.directory(listed_path(path))
            elif path not in self._fetched:
                raise self._changed()

    def _changed(self) -> Fault:
        return Fault(
            f"{quoted(self._path)} changed while it was fetched",
            code=Code.CONTENT_CHANGED,
            hint="It may have been removed, or published again. Try again.",
        )

    def _local(self, path: str) -> str:
        return f"{self._target}/{path}"

    def _finish(self, path: str, size: int, entry: Entry | None) -> None:
        self._add(path, entry)
        self._progress.advance(1, size)

    def _add(self, path: str, entry: Entry | None) -> None:
        self._fetched.add(path)
        if entry is not None:
            self._flush_queue.add(self._local(path), entry)


def contradictory(path: str, name: str) -> Fault:
    """The error for a service that sends ``name`` in the directory ``path`` as two things."""
    return Fault(
        f"the service sends {quoted(name)} of {quoted(path)} twice, or as a file and a directory",
        code=Code.INVALID_ANSWER,
        hint=NOT_A_SERVICE,
    )


class FlushQueue:
    """Flushes files below the directory ``top``, and then adds them to ``objects``.

    Calls ``renew`` from time to time while it waits for a disk. Use it in a ``with`` statement.
    Files that arrive during a flush wait for the next one.
    """

    def __init__(self, top: str, objects: Objects, renew: Callable[[], None]) -> None:
        self._renew = renew
        self._top = top
        self._objects = objects
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gobbler-flush")
        self._lock = threading.Lock()
        self._written: list[tuple[str, Entry]] = []
        self._running: Future[None] | None = None

    def add(self, path: str, entry: Entry) -> None:
        """Add the file ``path``, which is written, closed, and the same as its ``entry``.

        Threads may share the queue. Raises the error of an earlier flush.
        """
        with self._lock:
            self._written.append((path, entry))
            if len(self._written) >= FLUSHED_FILES and (
                self._running is None or self._running.done()
            ):
                self._flush()

    def finish(self) -> None:
        """Wait until all files are on disk and added to the objects."""
        self._flush()
        self._wait()

    def _flush(self) -> None:
        """Start to flush the files added so far, after the previous flush."""
        self._wait()
        files, self._written = self._written, []

        def flush() -> None:
            with optional_step("flush files of the cache"):
                flush_filesystem(self._top, Durability.FULL)
            self._objects.add(files)

        self._running = self._pool.submit(flush)

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            while not wait((running,), RENEW_SECONDS).done:
                self._renew()
            running.result()

    def __enter__(self) -> FlushQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
