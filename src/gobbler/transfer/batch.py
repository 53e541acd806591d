"""One batch of files: from the source into the tree that is being built.

A batch is a value that can be pickled. Whoever runs it opens the source anew, checks that
it is still the directory that was identified, and walks down by descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.hash import copy_and_hash, hash_file, same_content
from gobbler.fs.open import DIRECTORY, READ, closing, kind_of, open_beneath, open_directory
from gobbler.fs.os_errors import raising_fault, with_path
from gobbler.model.progress import Progress
from gobbler.transfer.run_directory import BatchProgress, Made, Own, run_directory
from gobbler.transfer.scan import FOREIGN_LINK, is_foreign_link, refusal


@dataclass(frozen=True)
class Source:
    """A directory in staging that was identified: where it is, which one, and whose.

    ``device`` and ``inode`` tell it from whatever its owner may put in its place. Another
    host may know the device by another number: if ``is_inside``, it is that of staging.
    """

    staging: str
    name: str
    device: int
    inode: int
    owner: int
    is_inside: bool = False

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The open directory; :class:`~gobbler.errors.Refused` if it is another one now."""
        with closing(open_directory(self.staging)) as staging:
            try:
                descriptor = os.open(self.name, DIRECTORY, dir_fd=staging)
            except OSError as error:
                raise refusal(error, self.name) from None
            with closing(descriptor), with_path(f"{self.staging}/{self.name}"):
                status = os.fstat(descriptor)
                is_same_device = status.st_dev == self.device or (
                    self.is_inside and status.st_dev == os.fstat(staging).st_dev
                )
                found = (status.st_ino, status.st_uid)
                if not is_same_device or found != (self.inode, self.owner):
                    raise Refused(
                        f"the source {quoted(self.name)} was replaced meanwhile",
                        code=Code.SOURCE_CHANGED,
                    )
                yield descriptor


class DedupCandidate(NamedTuple):
    """A file of the latest version: its MD5, and where its bytes stand on disk."""

    md5sum: str
    real: str


@dataclass(frozen=True)
class Batch:
    """Files to be taken from a source.

    ``files``: sizes in bytes by path. ``candidates``: the file at the same path of the latest
    version, where it has the same size. ``tree``: the directory that is being built.
    ``adopt``: files of this account may be hard-linked instead of copied. ``write_out``:
    large files go to the disk as they come. ``earlier``: copies in the tree that an earlier
    attempt may have completed. ``run_directories_path``: where each run
    makes a directory of its own for its files (see :mod:`gobbler.transfer.run_directory`); if
    empty, they are made in the tree.
    """

    source: Source
    tree: str
    files: dict[str, int]
    candidates: dict[str, DedupCandidate]
    adopt: bool
    write_out: bool = False
    earlier: dict[str, IngestedFile] = field(default_factory=dict)
    run_directories_path: str = ""


class IngestedFile(NamedTuple):
    """What became of one file: its size in bytes and MD5.

    ``same``: it is the same as its twin, and was not copied. ``fingerprint`` tells the state of
    the source file that was read.
    """

    path: str
    size: int
    md5sum: str
    same: bool
    fingerprint: Fingerprint


def run_batch(batch: Batch, progress: Progress) -> list[IngestedFile]:
    """Carry out a batch. Raises :class:`~gobbler.errors.Refused` that names the path."""
    return _run(batch, None, BatchProgress(batch.tree, progress))


def run_batch_in_run_directory(batch: Batch, progress: Progress) -> tuple[list[IngestedFile], Made]:
    """The same, but the tree stays as it is: the files are made in a directory of this run."""
    with run_directory(batch.run_directories_path, flush=batch.write_out) as own:
        ingested = _run(batch, own, BatchProgress(own.path, progress))
    return ingested, own.made()


def _run(batch: Batch, own: Own | None, progress: BatchProgress) -> list[IngestedFile]:
    ingested: list[IngestedFile] = []
    with batch.source.opened() as source:
        for directory, names in _by_directory(batch.files):
            try:
                opened = open_beneath(source, directory, DIRECTORY) if directory else os.dup(source)
            except OSError as error:
                raise refusal(error, directory or batch.source.name) from None
            target = f"{batch.tree}/{directory}" if directory else batch.tree
            with closing(opened), closing(open_directory(target)) as into:
                for name in names:
                    progress.check()
                    path = f"{directory}/{name}" if directory else name
                    place = _At(opened, name, into, own, path)
                    ingested.append(_take(batch, place, progress))
                    progress.end_file(ingested[-1].size)
    return ingested


class _At(NamedTuple):
    """Where one file is: ``name`` in the open directories of source and tree; its path."""

    source: int
    name: str
    tree: int
    own: Own | None
    path: str

    @property
    def into(self) -> tuple[int, str]:
        """The open directory, and the name in it, that the copy goes to."""
        return (self.tree, self.name) if self.own is None else self.own.place(self.path)


def _by_directory(files: dict[str, int]) -> Iterator[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for path in files:
        directory, _, name = path.rpartition("/")
        grouped.setdefault(directory, []).append(name)
    return iter(grouped.items())


def _take(batch: Batch, place: _At, progress: Progress) -> IngestedFile:
    path = place.path
    try:
        opened = os.open(place.name, READ, dir_fd=place.source)
    except OSError as error:
        raise refusal(error, path) from None
    with closing(opened), raising_fault("copy", f"{batch.source.name}/{path}"):
        before = os.fstat(opened)
        if not stat.S_ISREG(before.st_mode):
            raise Refused(
                f"{quoted(path)} in the source is {kind_of(before.st_mode)} now",
                code=Code.SOURCE_CHANGED,
            )
        if is_foreign_link(before, batch.source.owner):
            raise Refused(f"{quoted(path)} in the source {FOREIGN_LINK}", code=Code.HARD_LINK)
        fingerprint = Fingerprint.of(before)
        earlier = batch.earlier.get(path)
        if earlier is not None:
            if earlier.fingerprint == fingerprint and _is_whole(
                place.tree, place.name, earlier, progress
            ):
                return earlier
            if place.own is None:
                with suppress(FileNotFoundError):
                    os.unlink(place.name, dir_fd=place.tree)
            else:
                place.own.drop(path)
        # Comparing is far cheaper than hashing, and decisive: no checksum is needed at all.
        candidate = batch.candidates.get(path)
        if candidate is not None and _is_same(opened, candidate.real, before.st_size, progress):
            return IngestedFile(path, before.st_size, candidate.md5sum, True, fingerprint)
        if batch.adopt and _adopt(place, before):
            size, md5sum = hash_file(opened, progress, before.st_size)
        else:
            size, md5sum = _copy(batch, opened, place, before.st_size, progress)
        _unchanged(opened, fingerprint, size, path)
    return IngestedFile(path, size, md5sum, False, fingerprint)


def _is_whole(into: int, name: str, earlier: IngestedFile, progress: Progress) -> bool:
    try:
        with closing(os.open(name, READ, dir_fd=into)) as copy:
            return hash_file(copy, progress, earlier.size) == (earlier.size, earlier.md5sum)
    except FileNotFoundError:
        return False


def _copy(batch: Batch, opened: int, place: _At, size: int, progress: Progress) -> tuple[int, str]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    directory, name = place.into
    with closing(os.open(name, flags, FILE_MODE, dir_fd=directory)) as copy:
        if place.own is not None:
            os.fchmod(copy, FILE_MODE)  # the umask there is not the service's
        return copy_and_hash(opened, copy, size, progress, write_out=batch.write_out)


def _adopt(place: _At, before: os.stat_result) -> bool:
    """Hard-link the service's own file instead of copying it; whether that was done.

    The source stays whole until the version is published; then its name is removed.
    """
    # Another mode would have to be changed in the source, too, before it is published.
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
        os.unlink(called, dir_fd=into)  # swapped since it was opened
        return False
    return True


def _unchanged(opened: int, fingerprint: Fingerprint, size: int, path: str) -> None:
    after = os.fstat(opened)
    if size != fingerprint.size or Fingerprint.of(after) != fingerprint:
        raise Refused(
            f"{quoted(path)} in the source changed while it was being read",
            code=Code.SOURCE_CHANGED,
            hint="Upload again once nothing writes to the directory any more.",
        )


def _is_same(opened: int, real: str, size: int, progress: Progress) -> bool:
    try:
        with closing(os.open(real, READ)) as other:
            return same_content(opened, other, size, progress)
    except OSError:
        return False  # deleted meanwhile, damaged, or a link out of the registry: copy instead


@dataclass(frozen=True)
class ConfirmBatch:
    """Copied files whose size and MD5 are those of a published file.

    ``files``: for each path, the size in bytes and where the bytes of the other stand.
    """

    tree: str
    files: dict[str, tuple[int, str]]


def run_confirm_batch(batch: ConfirmBatch, progress: Progress) -> list[str]:
    """The paths of those copies that are byte for byte the same as the other file.

    It changes nothing, so it may run twice: whoever handed it out removes the copies.
    """
    reported = BatchProgress(batch.tree, progress)
    confirmed = []
    for path, (size, real) in batch.files.items():
        reported.check()
        with closing(os.open(f"{batch.tree}/{path}", READ)) as opened:
            if _is_same(opened, real, size, reported):
                confirmed.append(path)
    return confirmed
