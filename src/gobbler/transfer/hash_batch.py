"""Hashing files where they are: of published versions and of whitelisted directories."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.fs.hash import hash_file
from gobbler.fs.open import Beneath, closing, kind_of, open_directory
from gobbler.fs.os_errors import fault_at
from gobbler.model.progress import Progress
from gobbler.transfer.run_directory import BatchProgress


@dataclass(frozen=True)
class HashBatch:
    """Files below the directory ``root`` to be hashed, following no link below it.

    ``files``: for each name under which a file is reported, its path below the root.
    ``workspace``: the batch ends when this path is gone.
    """

    workspace: str
    root: str
    files: dict[str, str]


class Hashed(NamedTuple):
    """The size in bytes and MD5 of a file, or the ``problem`` why it has none.

    ``failed``: the problem is one of the filesystem, and nobody's mistake.
    """

    path: str
    size: int
    md5sum: str
    problem: str
    failed: bool = False


MISTAKES = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM),
}
"""Errors that tell what stands at a path, or who may read it."""


def run_hash_batch(batch: HashBatch, progress: Progress) -> list[Hashed]:
    """Hash the files of a batch. What can't be read is reported, not raised."""
    reported = BatchProgress(batch.workspace, progress)
    try:
        directory = open_directory(batch.root)
    except OSError as error:
        # A whitelisted directory may be on a filesystem that is not there now.
        return [_unreadable(error, path, batch.root) for path in batch.files]
    with closing(directory) as root:
        beneath = Beneath(root)
        try:
            found = []
            for path, inner in batch.files.items():
                found.append(_hash(beneath, inner, path, reported))
                reported.end_file(found[-1].size)
            return found
        finally:
            beneath.close()


def _hash(root: Beneath, inner: str, path: str, progress: BatchProgress) -> Hashed:
    progress.check()
    try:
        with closing(root.open(inner, os.O_RDONLY | os.O_NONBLOCK)) as opened:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                return Hashed(path, 0, "", f"is {kind_of(status.st_mode)}, not a regular file")
            size, md5sum = hash_file(opened, progress, status.st_size)
    except OSError as error:
        return _unreadable(error, path, path)
    return Hashed(path, size, md5sum, "")


def _unreadable(error: OSError, path: str, where: str) -> Hashed:
    """What is wrong with ``path``; raises what tells nothing about it."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise fault_at(error, "read", where) from error
    failed = error.errno not in MISTAKES
    return Hashed(path, 0, "", f"can't be read: {error.strerror}", failed)
