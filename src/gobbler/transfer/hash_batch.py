"""A batch of files that are hashed where they are."""

from __future__ import annotations

import errno
import operator
import os
import stat
from dataclasses import dataclass
from typing import Any, NamedTuple

from gobbler.fs.access import READ, Restricted, check_everybody, enterable
from gobbler.fs.hash import hash_file
from gobbler.fs.open import Beneath, closing, kind_of, open_directory
from gobbler.fs.os_errors import MISTAKES, fault_at
from gobbler.fs.space import has_impossible_holes
from gobbler.model.progress import Progress
from gobbler.transfer.batch import BatchProgress
from gobbler.transfer.pooled_work import PooledWork


@dataclass(frozen=True)
class HashBatch:
    """Files below the directory ``root`` to be hashed, following no link below it.

    ``files``: for each path to report, the path below the root. The batch ends when the path
    ``workspace`` is gone. If ``public``, a file that not everybody may read can't be read.
    ``is_small``: a local pool may hash them.
    """

    workspace: str
    root: str
    files: dict[str, str]
    public: bool = False
    is_small: bool = False


class Hashed(NamedTuple):
    """The size in bytes and MD5 of a file, or the ``problem`` with it.

    ``failed``: the filesystem caused the problem, not a user.
    """

    path: str
    size: int
    md5sum: str
    problem: str
    failed: bool = False


HOLES = "has holes, and more bytes than its filesystem"


def run_hash_batch(batch: HashBatch, progress: Progress) -> list[Hashed]:
    """Hash the files of a batch. Files that can't be read are reported, not raised."""
    reported = BatchProgress(batch.workspace, progress)
    try:
        directory = open_directory(batch.root)
    except OSError as error:
        # A whitelisted directory may be on a filesystem that is not mounted now.
        return [_unreadable(error, path, batch.root) for path in batch.files]
    with closing(directory) as root:
        beneath = Beneath(root, enterable if batch.public else None)
        try:
            found = []
            for path, inner in batch.files.items():
                found.append(_hash(beneath, inner, path, reported, public=batch.public))
                reported.end_file(found[-1].size)
            return found
        finally:
            beneath.close()


def _run_in_pool(batch: HashBatch, progress: Progress) -> list[tuple[Any, ...]]:
    return [tuple(hashed) for hashed in run_hash_batch(batch, progress)]


def _from_pool(rows: list[tuple[Any, ...]]) -> list[Hashed]:
    return list(map(Hashed._make, rows))


POOLED = PooledWork(operator.attrgetter("is_small"), _run_in_pool, _from_pool, again=run_hash_batch)


def _hash(root: Beneath, inner: str, path: str, progress: BatchProgress, *, public: bool) -> Hashed:
    progress.check()
    try:
        with closing(root.open(inner, os.O_RDONLY | os.O_NONBLOCK)) as opened:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                return Hashed(path, 0, "", f"is {kind_of(status.st_mode)}, not a regular file")
            if public:
                check_everybody(opened, READ)
            if public and has_impossible_holes(opened, status):
                return Hashed(path, 0, "", HOLES)
            size, md5sum = hash_file(opened, progress, status.st_size)
    except Restricted as error:
        return Hashed(path, 0, "", f"can't be taken: {error.strerror}")
    except OSError as error:
        return _unreadable(error, path, path)
    return Hashed(path, size, md5sum, "")


def _unreadable(error: OSError, path: str, where: str) -> Hashed:
    """Report ``path`` as unreadable; raises errors that are not about this path."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise fault_at(error, "read", where) from error
    failed = error.errno not in MISTAKES
    return Hashed(path, 0, "", f"can't be read: {error.strerror}", failed)
