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

from gobbler.disk.naming import at, naming
from gobbler.disk.opening import (
    DIRECTORY,
    READ,
    closing,
    kind_of,
    open_beneath,
    open_directory,
)
from gobbler.disk.writing import FILE_MODE
from gobbler.errors import Refused, quoted
from gobbler.transfer.copying import Check, StillWanted, copy_and_hash, hash_file, same_content
from gobbler.transfer.execute import Meter
from gobbler.transfer.scan import FOREIGN_LINK, is_foreign_link, refusal


@dataclass(frozen=True)
class Source:
    """A directory in staging that was identified: where it is, which one, and whose.

    ``device`` and ``inode`` tell it from whatever its owner may put in its place.
    """

    staging: str
    name: str
    device: int
    inode: int
    owner: int

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The open directory; :class:`~gobbler.errors.Refused` if it is another one now."""
        with closing(open_directory(self.staging)) as staging:
            try:
                descriptor = os.open(self.name, DIRECTORY, dir_fd=staging)
            except OSError as error:
                raise refusal(error, self.name) from None
            with closing(descriptor), at(f"{self.staging}/{self.name}"):
                status = os.fstat(descriptor)
                found = (status.st_dev, status.st_ino, status.st_uid)
                if found != (self.device, self.inode, self.owner):
                    raise Refused(f"the source {quoted(self.name)} was replaced meanwhile")
                yield descriptor


class Stamp(NamedTuple):
    """What tells one state of a file from another: inode, size, and time of change in ns."""

    inode: int
    size: int
    modified: int


class Twin(NamedTuple):
    """A file of the latest version: its MD5, and where its bytes stand on disk."""

    md5sum: str
    real: str


@dataclass(frozen=True)
class Batch:
    """Files to be taken from a source.

    ``files``: sizes in bytes by path. ``twins``: the file at the same path of the latest
    version, where it has the same size. ``tree``: the directory that is being built.
    ``adopt``: files of this account may be hard-linked instead of copied. ``write_out``:
    large files go to the disk as they come. ``earlier``: copies in the tree that an earlier
    attempt may have completed.
    """

    source: Source
    tree: str
    files: dict[str, int]
    twins: dict[str, Twin]
    adopt: bool
    write_out: bool = False
    earlier: dict[str, Taken] = field(default_factory=dict)


class Taken(NamedTuple):
    """What became of one file: its size in bytes and MD5.

    ``same``: it is the same as its twin, and was not copied. ``stamp`` tells the state of
    the source file that was read.
    """

    path: str
    size: int
    md5sum: str
    same: bool
    stamp: Stamp


def run_batch(batch: Batch, meter: Meter) -> list[Taken]:
    """Carry out a batch. Raises :class:`~gobbler.errors.Refused` that names the path."""
    check = StillWanted(batch.tree, meter)
    taken: list[Taken] = []
    with batch.source.opened() as source:
        for directory, names in _by_directory(batch.files):
            try:
                opened = open_beneath(source, directory, DIRECTORY) if directory else os.dup(source)
            except OSError as error:
                raise refusal(error, directory or batch.source.name) from None
            target = f"{batch.tree}/{directory}" if directory else batch.tree
            with closing(opened), closing(open_directory(target)) as into:
                for name in names:
                    check(0)
                    path = f"{directory}/{name}" if directory else name
                    taken.append(_take(batch, opened, into, name, path, check))
                    meter.add_file(taken[-1].size)
    return taken


def _by_directory(files: dict[str, int]) -> Iterator[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for path in files:
        directory, _, name = path.rpartition("/")
        grouped.setdefault(directory, []).append(name)
    return iter(grouped.items())


def _take(batch: Batch, parent: int, into: int, name: str, path: str, check: Check) -> Taken:
    try:
        opened = os.open(name, READ, dir_fd=parent)
    except OSError as error:
        raise refusal(error, path) from None
    with closing(opened), naming("copy", f"{batch.source.name}/{path}"):
        before = os.fstat(opened)
        if not stat.S_ISREG(before.st_mode):
            raise Refused(f"{quoted(path)} in the source is {kind_of(before.st_mode)} now")
        if is_foreign_link(before, batch.source.owner):
            raise Refused(f"{quoted(path)} in the source {FOREIGN_LINK}")
        stamp = Stamp(before.st_ino, before.st_size, before.st_mtime_ns)
        earlier = batch.earlier.get(path)
        if earlier is not None:
            if earlier.stamp == stamp and _is_whole(into, name, earlier, check):
                return earlier
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=into)
        # Comparing is far cheaper than hashing, and decisive: no checksum is needed at all.
        twin = batch.twins.get(path)
        if twin is not None and _is_same(opened, twin.real, before.st_size, check):
            return Taken(path, before.st_size, twin.md5sum, True, stamp)
        if batch.adopt and _adopt(parent, name, before, into):
            size, md5sum = hash_file(opened, check)
        else:
            size, md5sum = _copy(batch, opened, into, name, before.st_size, check)
        _unchanged(opened, stamp, size, path)
    return Taken(path, size, md5sum, False, stamp)


def _is_whole(into: int, name: str, earlier: Taken, check: Check) -> bool:
    try:
        with closing(os.open(name, READ, dir_fd=into)) as copy:
            return hash_file(copy, check) == (earlier.size, earlier.md5sum)
    except FileNotFoundError:
        return False


def _copy(
    batch: Batch, opened: int, into: int, name: str, size: int, check: Check
) -> tuple[int, str]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with closing(os.open(name, flags, FILE_MODE, dir_fd=into)) as copy:
        return copy_and_hash(opened, copy, size, check, write_out=batch.write_out)


def _adopt(parent: int, name: str, before: os.stat_result, into: int) -> bool:
    """Hard-link the service's own file instead of copying it; whether that was done.

    The source stays whole until the version is published; then its name is removed.
    """
    # Another mode would have to be changed in the source, too, before it is published.
    mode = stat.S_IMODE(before.st_mode)
    if before.st_uid != os.geteuid() or before.st_nlink != 1 or mode != FILE_MODE:
        return False
    try:
        os.link(name, name, src_dir_fd=parent, dst_dir_fd=into, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            return False
        raise
    if os.stat(name, dir_fd=into, follow_symlinks=False).st_ino != before.st_ino:
        os.unlink(name, dir_fd=into)  # swapped since it was opened
        return False
    return True


def _unchanged(opened: int, stamp: Stamp, size: int, path: str) -> None:
    after = os.fstat(opened)
    if size != stamp.size or Stamp(after.st_ino, after.st_size, after.st_mtime_ns) != stamp:
        raise Refused(
            f"{quoted(path)} in the source changed while it was being read",
            hint="Upload again once nothing writes to the directory any more.",
        )


def _is_same(opened: int, real: str, size: int, check: Check) -> bool:
    try:
        with closing(os.open(real, READ)) as other:
            return same_content(opened, other, size, check)
    except OSError:
        return False  # deleted meanwhile, damaged, or a link out of the registry: copy instead


@dataclass(frozen=True)
class ConfirmBatch:
    """Copied files whose size and MD5 are those of a published file.

    ``files``: for each path, the size in bytes and where the bytes of the other stand.
    """

    tree: str
    files: dict[str, tuple[int, str]]


def run_confirm_batch(batch: ConfirmBatch, meter: Meter) -> list[str]:
    """Remove each copy that is byte for byte the same as the other file; their paths."""
    check = StillWanted(batch.tree, meter)
    confirmed = []
    for path, (size, real) in batch.files.items():
        check(0)
        copy = f"{batch.tree}/{path}"
        with closing(os.open(copy, READ)) as opened:
            same = _is_same(opened, real, size, check)
        if same:
            os.unlink(copy)
            confirmed.append(path)
    return confirmed
