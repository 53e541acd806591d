"""Hashing files where they are: of published versions and of whitelisted directories."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.disk.naming import at, fault_of
from gobbler.disk.opening import closing, kind_of, open_beneath, open_directory
from gobbler.transfer.copying import StillWanted, hash_file


@dataclass(frozen=True)
class HashBatch:
    """Files below the directory ``root`` to be hashed, following no link below it.

    ``files``: for each name under which a file is reported, its path below the root.
    ``job``: the batch ends when this path is gone.
    """

    job: str
    root: str
    files: dict[str, str]


class Hashed(NamedTuple):
    """The size in bytes and MD5 of a file, or the ``problem`` why it has none."""

    path: str
    size: int
    md5sum: str
    problem: str


def run_hash_batch(batch: HashBatch) -> list[Hashed]:
    """Hash the files of a batch. What can't be read is reported, not raised."""
    check = StillWanted(batch.job)
    try:
        directory = open_directory(batch.root)
    except OSError as error:
        # A whitelisted directory may be on a filesystem that is not there now.
        problem = _unreadable(error, batch.root)
        return [Hashed(path, 0, "", problem) for path in batch.files]
    with closing(directory) as root:
        return [_hash(root, inner, path, check) for path, inner in batch.files.items()]


def _hash(root: int, inner: str, path: str, check: Callable[[], None]) -> Hashed:
    check()
    try:
        opened = open_beneath(root, inner, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return Hashed(path, 0, "", _unreadable(error, path))
    with closing(opened), at(path):
        mode = os.fstat(opened).st_mode
        if not stat.S_ISREG(mode):
            return Hashed(path, 0, "", f"is {kind_of(mode)}, not a regular file")
        try:
            size, md5sum = hash_file(opened, check)
        except OSError as error:
            return Hashed(path, 0, "", _unreadable(error, path))
    return Hashed(path, size, md5sum, "")


def _unreadable(error: OSError, path: str) -> str:
    """What is wrong with ``path``; raises what tells nothing about it."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise fault_of(error, "read", path) from error
    return f"can't be read: {error.strerror}"
