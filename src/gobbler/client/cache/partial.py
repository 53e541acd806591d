"""Scratch directories for downloads, and partial files that a later download resumes.

::

    temp/{random}/          one process fetches something
        lock                the lease of that process
        ...
        part-{key}/         a large file; see gobbler.client.download
    partial/{key}/          a large file of which no process fetches the rest

A rename moves a part into ``partial`` and out of it, so that at most one process resumes it.
The next process that makes a scratch directory recovers those of processes that were killed.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from gobbler.client.download import SMALL_FILE
from gobbler.client.optional_step import optional_step
from gobbler.fs.lease import Lease, acquire, take_over

ABANDONED_SECONDS = 30 * 24 * 3600
"""Seconds after which a scratch directory without a lock is abandoned."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_PART = "part-"
_LOCK = "lock"


class Scratch:
    """A new directory ``path`` below ``root``; made by :func:`scratch_directory`."""

    def __init__(self, root: Path, path: Path, lease: Lease | None) -> None:
        self._root = root
        self._lease = lease
        self.path = path

    def renew(self) -> None:
        """Renew the lease, so that other hosts see that this process lives."""
        if self._lease is not None:
            with optional_step("renew a lease in the cache"):
                self._lease.renew()

    @contextlib.contextmanager
    def part(self, key: str) -> Iterator[Path]:
        """A directory in which to fetch the large file ``key``, with the part fetched before.

        If the block raises, the part is kept for the next download of ``key``.
        """
        part = self.path / f"{_PART}{key}"
        with contextlib.suppress(FileNotFoundError):
            (self._root / "partial" / key).rename(part)
        part.mkdir(exist_ok=True)
        try:
            yield part
        except BaseException:
            _keep(self._root, part)
            raise


@contextlib.contextmanager
def scratch_directory(root: Path) -> Iterator[Scratch]:
    """A new directory on the filesystem of ``root``, removed at the end of the block."""
    temp = root / "temp"
    temp.mkdir(parents=True, exist_ok=True)
    recover(root)
    path, lease = _make(temp)
    try:
        yield Scratch(root, path, lease)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lease is not None:
            lease.close()


def _make(temp: Path) -> tuple[Path, Lease | None]:
    while True:
        path = temp / secrets.token_hex(8)
        path.mkdir()
        try:
            lease = acquire(str(path / _LOCK))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                shutil.rmtree(path, ignore_errors=True)
                raise
            return path, None  # recovered once it is old
        if lease is None:
            continue  # a recovery found it before it was locked, and removes it
        if (path / _LOCK).exists():
            return path, lease
        lease.close()


def recover(root: Path) -> None:
    """Remove the scratch directories of processes that were killed; keep their large parts."""
    for left in _listed(root / "temp"):
        with contextlib.suppress(OSError), _taken_over(left) as is_ours:
            if is_ours:
                for part in left.glob(f"{_PART}*"):
                    _keep(root, part)
                shutil.rmtree(left, ignore_errors=True)


def partials(root: Path) -> list[Path]:
    """The parts that no process is completing."""
    return _listed(root / "partial")


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def _taken_over(directory: Path) -> Iterator[bool]:
    """Whether its process is gone; then this one holds its lease during the block."""
    if not (directory / _LOCK).exists():
        yield time.time() - directory.stat().st_mtime > ABANDONED_SECONDS
        return
    lease = take_over(str(directory / _LOCK))
    try:
        yield lease is not None
    finally:
        if lease is not None:
            lease.close()


def _keep(root: Path, part: Path) -> None:
    """Move a part to where the next download finds it, if it is worth resuming."""
    with contextlib.suppress(OSError):
        if not (part / "validator").exists() or (part / "content").stat().st_size <= SMALL_FILE:
            return
        kept = root / "partial" / part.name.removeprefix(_PART)
        kept.parent.mkdir(exist_ok=True)
        part.rename(kept)
