"""A batch of files: copied from the source into the tree of a workspace.

A batch is a value that can be pickled. The process that runs it opens the source itself, checks
that it is still the identified directory, and walks down by descriptors.

A remote executor may run a batch twice: see :mod:`gobbler.transfer.run_directory`.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gobbler.errors import Code, Refused, quoted
from gobbler.fs import access
from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.hash import copy_and_hash, hash_file, same_content
from gobbler.fs.open import DIRECTORY, READ, closing, exists, kind_of, open_beneath, open_directory
from gobbler.fs.os_errors import raising_fault
from gobbler.model.progress import Progress
from gobbler.registry.workspace import workspace_gone
from gobbler.rules.resumption import LeftCopy, Use, use_of
from gobbler.transfer import piece_record
from gobbler.transfer.copy_state import FLUSHED, CopyState, SourceState
from gobbler.transfer.large_copy import CopyMade, LargeCopy
from gobbler.transfer.piece_record import PartialCopy
from gobbler.transfer.pooled_work import PooledWork, are_small
from gobbler.transfer.run_directory import RunDirectory, RunResult, run_directory
from gobbler.transfer.scan import FOREIGN_LINK, is_foreign_link, refusal
from gobbler.transfer.staged_source import StagedSource
from gobbler.transfer.verifier import Unusable

CANCEL_CHECK_SECONDS = 0.2
"""Seconds between two checks whether the request of a batch was cancelled."""


class BatchProgress:
    """The progress and the cancel token of a running batch.

    A batch may run in another process, so it is cancelled by removing ``path``: the tree, or
    the directory of the runs.
    """

    def __init__(self, path: str, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._part = 0
        self._next = 0.0

    def expect(self, files: int, size: int | None) -> None:
        """Do nothing: the dispatcher knows the total."""

    def advance(self, files: int, size: int) -> None:
        """Count ``size`` more bytes of the file that is being read.

        Raises :class:`~gobbler.errors.Cancelled` if the request was cancelled.
        """
        self._part += size
        self._progress.advance(files, size)
        self.check()

    def end_file(self, size: int) -> None:
        """Count one file of ``size`` bytes, however often it was read."""
        self._progress.advance(1, size - self._part)
        self._part = 0

    def check(self) -> None:
        """Raise :class:`~gobbler.errors.Cancelled` if the request was cancelled."""
        now = time.monotonic()
        if now >= self._next:
            if not exists(self._path):
                raise workspace_gone(self._path)
            self._next = now + CANCEL_CHECK_SECONDS


DedupCandidate = tuple[str, str]
"""A file of the latest version: its MD5, and the path of its content on disk."""


@dataclass(frozen=True)
class Batch:
    """Files to ingest from ``source`` into ``tree``.

    ``files``: sizes in bytes by path. ``candidates``: by path, the file at the same path of the
    latest version if it has the same size. ``adopt``: files of this account may be hard-linked
    instead of copied. ``write_out``: data of large files is written to disk during the copy.
    ``workspace``: the path of a resumable workspace, for whose next attempt copies are described.
    ``earlier``: copies in the tree that an earlier attempt has completed. ``partial``: those that
    it has begun. ``run_directories_path``: the place for the directory of each run; if it is empty,
    the batch writes into the tree.
    """

    source: StagedSource
    tree: str
    files: dict[str, int]
    candidates: dict[str, DedupCandidate]
    adopt: bool
    write_out: bool = False
    workspace: str = ""
    earlier: dict[str, EarlierCopy] = field(default_factory=dict)
    partial: dict[str, PartialCopy] = field(default_factory=dict)
    run_directories_path: str = ""


class IngestedFile(NamedTuple):
    """An ingested file: its path, its size in bytes and its MD5.

    ``same``: its content is that of its dedup candidate, so it was not copied. ``fingerprint``: the
    state of the source file that was read. ``copy``: the state of the copy, for the next attempt.
    """

    path: str
    size: int
    md5sum: str
    same: bool
    fingerprint: Fingerprint
    copy: CopyState | None = None


class EarlierCopy(NamedTuple):
    """A copy of an earlier attempt in the tree, and what is known of it."""

    ingested: IngestedFile
    known: LeftCopy


def run_batch(batch: Batch, progress: Progress) -> list[IngestedFile]:
    """Ingest a batch. Raises :class:`~gobbler.errors.Refused` that names the path."""
    return _run(batch, None, BatchProgress(batch.tree, progress))


def _are_small(batch: Batch) -> bool:
    return are_small(batch.files.values())


def _run_in_pool(batch: Batch, progress: Progress) -> list[tuple[Any, ...]]:
    """Ingest a batch, and return plain tuples: named ones take long to be handed on."""
    return [
        (path, size, md5sum, same, *fingerprint, None if copy is None else tuple(copy))
        for path, size, md5sum, same, fingerprint, copy in run_batch(batch, progress)
    ]


def _from_pool(rows: list[tuple[Any, ...]]) -> list[IngestedFile]:
    return [
        IngestedFile(path, size, md5sum, same, Fingerprint(inode, read, mtime), _state(copy))
        for path, size, md5sum, same, inode, read, mtime, copy in rows
    ]


def _state(copy: tuple[Any, ...] | None) -> CopyState | None:
    return None if copy is None else CopyState._make(copy)


def _run_again(batch: Batch, progress: Progress) -> list[IngestedFile]:
    """Ingest a batch of which a process that has died may have made any part.

    Nothing that it has left is used, nor what an earlier attempt had left: it may have begun to
    replace that.
    """
    for path in batch.files:
        with suppress(FileNotFoundError):
            os.unlink(f"{batch.tree}/{path}")
    return run_batch(replace(batch, earlier={}, partial={}), progress)


POOLED = PooledWork(_are_small, _run_in_pool, _from_pool, _run_again)


def run_batch_in_run_directory(
    batch: Batch, progress: Progress
) -> tuple[list[IngestedFile], RunResult]:
    """Ingest a batch into a run directory, and leave the tree as it is."""
    with run_directory(batch.run_directories_path, flush=batch.write_out) as own:
        ingested = _run(batch, own, BatchProgress(own.path, progress))
    if batch.write_out:
        ingested = [_flushed(file) for file in ingested]
    return ingested, own.result()


def _flushed(file: IngestedFile) -> IngestedFile:
    return file if file.copy is None else file._replace(copy=file.copy._replace(boot=FLUSHED))


def _run(batch: Batch, own: RunDirectory | None, progress: BatchProgress) -> list[IngestedFile]:
    ingested: list[IngestedFile] = []
    check = access.foreign_directories(batch.source.owner)
    with batch.source.opened() as source:
        for directory, names in _by_directory(batch.files):
            try:
                opened = (
                    open_beneath(source, directory, DIRECTORY, check)
                    if directory
                    else os.dup(source)
                )
            except OSError as error:
                raise refusal(error, directory or batch.source.name, batch.source.path) from None
            target = f"{batch.tree}/{directory}" if directory else batch.tree
            with closing(opened), closing(_open_target(target)) as into:
                for name in names:
                    progress.check()
                    path = f"{directory}/{name}" if directory else name
                    place = _FilePlace(opened, name, into, own, path)
                    ingested.append(_ingest(batch, place, progress))
                    progress.end_file(ingested[-1].size)
    return ingested


def _open_target(path: str) -> int:
    try:
        return open_directory(path)
    except FileNotFoundError:
        raise workspace_gone(path) from None


class _FilePlace(NamedTuple):
    """One file: its path, and its ``name`` in the open directories of source and tree."""

    source: int
    name: str
    tree: int
    own: RunDirectory | None
    path: str

    @property
    def into(self) -> tuple[int, str]:
        """The open directory, and the name in it, for the copy."""
        return (self.tree, self.name) if self.own is None else self.own.place(self.path)


def _by_directory(files: dict[str, int]) -> Iterator[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for path in files:
        directory, _, name = path.rpartition("/")
        grouped.setdefault(directory, []).append(name)
    return iter(grouped.items())


def _ingest(batch: Batch, place: _FilePlace, progress: Progress) -> IngestedFile:
    path = place.path
    try:
        opened = os.open(place.name, READ, dir_fd=place.source)
    except OSError as error:
        raise refusal(error, path, batch.source.path) from None
    with closing(opened), raising_fault("copy", f"{batch.source.name}/{path}"):
        before = os.fstat(opened)
        if not stat.S_ISREG(before.st_mode):
            raise Refused(
                f"{quoted(path)} in the source is {kind_of(before.st_mode)} now",
                code=Code.SOURCE_CHANGED,
            )
        if is_foreign_link(before, batch.source.owner):
            raise Refused(f"{quoted(path)} in the source {FOREIGN_LINK}", code=Code.HARD_LINK)
        try:
            access.check_foreign(opened, before, batch.source.owner, access.READ)
        except access.Restricted as error:
            raise refusal(error, path, batch.source.path) from None
        fingerprint = Fingerprint.of(before)
        earlier = batch.earlier.get(path)
        if earlier is not None:
            found = _still_right(batch, earlier, SourceState.of(before), place, progress)
            if found is not None:
                return found
            if place.own is None:
                with suppress(FileNotFoundError):
                    os.unlink(place.name, dir_fd=place.tree)
            else:
                place.own.drop(path)
        # Comparing is far cheaper than hashing, and it decides: no checksum is needed.
        candidate = batch.candidates.get(path)
        if candidate is not None and is_same(opened, candidate[1], before.st_size, progress):
            return IngestedFile(path, before.st_size, candidate[0], True, fingerprint)
        if batch.adopt and _adopt(place, before):
            size, md5sum = hash_file(opened, progress, before.st_size)
            state = None
        else:
            size, md5sum, state = _copy(batch, opened, place, SourceState.of(before), progress)
        _unchanged(opened, fingerprint, size, path)
    return IngestedFile(path, size, md5sum, False, fingerprint, state)


def _still_right(
    batch: Batch, earlier: EarlierCopy, source: SourceState, place: _FilePlace, progress: Progress
) -> IngestedFile | None:
    """The entry of a copy of an earlier attempt, if it may be used."""
    ingested = earlier.ingested
    same_source = ingested.fingerprint == source.fingerprint and (
        ingested.copy is None or ingested.copy.source_changed_ns == source.changed_ns
    )
    use = use_of(earlier.known, same_source=same_source)
    if use is Use.AS_IT_IS:
        return ingested
    if use is not Use.AFTER_READING:
        return None
    try:
        with closing(os.open(place.name, READ, dir_fd=place.tree)) as copy:
            found = hash_file(copy, progress, ingested.size)
            if found != (ingested.size, ingested.md5sum):
                return None
            state = CopyState.of(copy, source) if batch.workspace else None
            return ingested._replace(copy=state)
    except FileNotFoundError:
        return None


def _copy(
    batch: Batch, opened: int, place: _FilePlace, source: SourceState, progress: Progress
) -> CopyMade:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    directory, name = place.into
    size = source.fingerprint.size
    large = None
    if batch.workspace and size >= piece_record.RECORDED_BYTES:
        inside = f"{batch.tree}/{place.path}" if place.own is None else f"{place.own.path}/{name}"
        large = LargeCopy(
            batch.workspace,
            place.path,
            inside.removeprefix(f"{batch.workspace}/"),
            directory,
            name,
            opened,
            source,
            batch.write_out,
        )
        partial = batch.partial.get(place.path)
        if partial is not None and _may_go_on(partial, source):
            with suppress(Unusable):
                return large.go_on(partial, progress)
    with closing(os.open(name, flags, FILE_MODE, dir_fd=directory)) as copy:
        if place.own is not None:
            os.fchmod(copy, FILE_MODE)  # another host has another umask
        if large is not None:
            return large.make(copy, progress)
        done = copy_and_hash(opened, copy, size, progress, write_out=batch.write_out)
        return CopyMade(*done, CopyState.of(copy, source) if batch.workspace else None)


def _may_go_on(partial: PartialCopy, source: SourceState) -> bool:
    known = LeftCopy(is_closed=True, is_complete=False)
    return use_of(known, same_source=partial.source == source) is Use.AS_A_BEGINNING


def _adopt(place: _FilePlace, before: os.stat_result) -> bool:
    """Hard-link a file of the service's own account; ``False`` if it must be copied.

    The source stays complete until the version is published; then its name is removed.
    """
    # Changing another mode would change the source before the publication.
    mode = stat.S_IMODE(before.st_mode)
    if before.st_uid != os.geteuid() or before.st_nlink != 1 or mode != FILE_MODE:
        return False
    into, called = place.into
    try:
        os.link(
            place.name,
            called,
            src_dir_fd=place.source,
            dst_dir_fd=into,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            return False
        raise
    if os.stat(called, dir_fd=into, follow_symlinks=False).st_ino != before.st_ino:
        os.unlink(called, dir_fd=into)  # it was replaced after it was opened
        return False
    return True


def _unchanged(opened: int, fingerprint: Fingerprint, size: int, path: str) -> None:
    after = os.fstat(opened)
    if size != fingerprint.size or Fingerprint.of(after) != fingerprint:
        raise Refused(
            f"{quoted(path)} in the source changed while it was being read",
            code=Code.SOURCE_CHANGED,
            hint="Upload again when no process writes to the directory.",
        )


def is_same(opened: int, real: str, size: int, progress: Progress) -> bool:
    """Whether an open file has the content of the file at ``real``, byte for byte."""
    try:
        with closing(os.open(real, READ)) as other:
            return same_content(opened, other, size, progress)
    except OSError:
        return False  # deleted, damaged, or a link out of the registry: copy instead
