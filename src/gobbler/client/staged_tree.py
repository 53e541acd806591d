"""The tree of a copy in staging: its directories, links and files, made below one descriptor.

Small files are the work of the interpreter: what counts is how little happens for each. So they
are copied directory by directory, one after the other, unless the filesystem makes them wait;
threads would only wait for the interpreter instead. Large files are copied by the kernel, in
threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gobbler.client.checksums import Checksums
from gobbler.client.optional_step import optional_step
from gobbler.client.parallel import Stop, for_each
from gobbler.client.source_links import moved_links
from gobbler.client.staged_file import (
    MAKE_READABLE,
    SMALL_FILE,
    Unusual,
    send,
    send_small,
)
from gobbler.client.staging_directory import SERVICE_DIRECTORY_MODE, MadeDirectory
from gobbler.fs.atomic_write import DIRECTORY_MODE
from gobbler.fs.hash import CHUNK
from gobbler.fs.open import DIRECTORY, closing
from gobbler.fs.umask import umask_leaves
from gobbler.model.progress import Progress
from gobbler.rules.upload_plan import Scan

FEW_BYTES = 1024 * 1024
"""Bytes of files that are not small, up to which threads would take longer to start."""

BATCH_FILES = 64
"""Most files of a directory that are copied before the time is looked at."""

SLOW_SECONDS = 0.0005
"""Seconds for a small file from which threads pay: a server takes its time."""

PAUSE_SECONDS = 0.004
"""Seconds that this process may have waited for the processor meanwhile."""


class _Batch(NamedTuple):
    """Files to be copied one after the other: their directory, and their paths in the source."""

    parent: str
    paths: Sequence[str]


class StagedTree:
    """The copy of what was ``found`` in ``directory``, below the open directory ``made``.

    ``concurrent`` large files are copied at a time; ``checksums`` receives the checksums.
    """

    def __init__(
        self,
        directory: str,
        made: MadeDirectory,
        found: Scan,
        concurrent: int,
        progress: Progress,
        checksums: Checksums | None,
    ) -> None:
        self._directory = directory
        self._into = made.descriptor
        self._directory_mode = SERVICE_DIRECTORY_MODE if made.has_acl else DIRECTORY_MODE
        # A default ACL counts instead of the umask. Over a network, each chmod is a request.
        self._has_modes = made.has_acl or umask_leaves(DIRECTORY_MODE)
        self._found = found
        self._concurrent = concurrent
        self._progress = progress
        self._checksums = checksums

    def fill(self) -> None:
        """Make everything; a file must be the same before and after it is copied."""
        self._make_directories()
        sizes = self._found.files
        self._progress.expect(len(sizes), sum(sizes.values()))
        others = [path for path, size in sizes.items() if size >= SMALL_FILE]
        if sum(sizes[path] for path in others) > FEW_BYTES:
            # Large ones first: they are hashed while the others are copied.
            others.sort(key=lambda path: sizes[path] < CHUNK)
            for_each(self._send, others, min(self._concurrent, len(others)))
            small = [path for path, size in sizes.items() if size < SMALL_FILE]
        else:
            small = list(sizes)
        left = self._copy_while_quick(small)
        if left:
            for_each(self._send, left, self._concurrent)

    def _make_directories(self) -> None:
        for path in self._found.directories:
            os.mkdir(path, self._directory_mode, dir_fd=self._into)
            if not self._has_modes:
                with optional_step(MAKE_READABLE):
                    os.chmod(path, DIRECTORY_MODE, dir_fd=self._into)
        top = self._directory
        for path, text in moved_links(self._found, os.path.realpath(top), top).items():
            os.symlink(text, path, dir_fd=self._into)

    def _send(self, path: str, stop: Stop) -> None:
        source = self._found.elsewhere.get(path) or f"{self._directory}/{path}"
        send(
            path,
            source,
            self._into,
            self._progress,
            stop,
            self._checksums,
            has_mode=self._has_modes,
        )
        self._progress.advance(1, 0)

    def _copy_while_quick(self, paths: Sequence[str]) -> list[str]:
        """Copy ``paths`` until they take long; return those that are left."""
        copied = 0
        batches = _batches(paths)
        for batch in batches:
            started = time.monotonic()
            self._copy(batch)
            copied += len(batch.paths)
            allowed = PAUSE_SECONDS + SLOW_SECONDS * len(batch.paths)
            if time.monotonic() - started > allowed:
                break
        return [path for batch in batches for path in batch.paths]

    def _copy(self, batch: _Batch) -> None:
        """Copy files of one directory, which is opened once."""
        stop = Stop()
        try:
            source = os.open(f"{self._directory}/{batch.parent}", DIRECTORY)
        except OSError:  # copying file by file names the one that can't be read
            for path in batch.paths:
                self._send(path, stop)
            return
        with closing(source), closing(self._opened(batch.parent)) as target:
            for path in batch.paths:
                if path in self._found.elsewhere or self._found.files[path] >= SMALL_FILE:
                    self._send(path, stop)
                    continue
                name = path.rpartition("/")[2]
                try:
                    data = send_small(name, source, target, has_mode=self._has_modes)
                except Unusual:
                    self._send(path, stop)
                    continue
                if self._checksums is not None:
                    self._checksums.keep(path, data)
                self._progress.advance(1, len(data))

    def _opened(self, parent: str) -> int:
        return os.open(parent or ".", DIRECTORY, dir_fd=self._into)


def _batches(paths: Sequence[str]) -> Iterator[_Batch]:
    """Batches of ``paths`` by directory; the first are small, to find out how long they take."""
    by_parent: dict[str, list[str]] = {}
    for path in paths:
        by_parent.setdefault(path.rpartition("/")[0], []).append(path)
    count = 1
    for parent, inside in by_parent.items():
        start = 0
        while start < len(inside):
            yield _Batch(parent, inside[start : start + count])
            start += count
            count = min(2 * count, BATCH_FILES)
