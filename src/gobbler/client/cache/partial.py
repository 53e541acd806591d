"""Where downloads are under way, and what becomes of those that were broken off.

::

    temp/{random}/          one process fetches something
        lock                held with flock; tells host and process
        ...
        part-{key}/         a large file; see gobbler.client.download
    partial/{key}/          such a file of which nobody fetches the rest

A rename takes a part out of ``partial`` or puts it there, so that at most one process goes
on with it. What was left by a process that was killed is found by the next one: its lock is
free, and the process is no more.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from gobbler.client.download import SMALL
from gobbler.fs.lease import Lease, acquire, take_over

ABANDONED_SECONDS = 30 * 24 * 3600
"""What has been under way for longer, without a lock, was left behind."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_PART = "part-"
_LOCK = "lock"


class Workplace:
    """A fresh directory ``path`` below ``root``; made by :func:`workplace`."""

    def __init__(self, root: Path, path: Path, lease: Lease | None) -> None:
        self._root = root
        self._presence = lease
        self.path = path

    def renew(self) -> None:
        """Show processes on other hosts, now and then, that somebody is at work here."""
        if self._presence is not None:
            self._presence.renew()

    @contextlib.contextmanager
    def part(self, key: str) -> Iterator[Path]:
        """A directory in which to fetch the large file ``key``, with what is there of it.

        If the block raises, what has come is kept for whoever asks for ``key`` next.
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
def workplace(root: Path) -> Iterator[Workplace]:
    """A fresh directory on the filesystem of ``root``, gone at the end of the block."""
    temp = root / "temp"
    temp.mkdir(parents=True, exist_ok=True)
    sweep(root)
    path, lease = _start(temp)
    try:
        yield Workplace(root, path, lease)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lease is not None:
            lease.close()


def _start(temp: Path) -> tuple[Path, Lease | None]:
    while True:
        path = temp / secrets.token_hex(8)
        path.mkdir()
        try:
            lease = acquire(str(path / _LOCK))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                shutil.rmtree(path, ignore_errors=True)
                raise
            return path, None  # what is left of it goes when it is old
        if lease is None:
            continue  # a sweep found it before it was locked: left to that
        if (path / _LOCK).exists():
            return path, lease
        lease.close()


def sweep(root: Path) -> None:
    """Put away what processes have left that are no more: keep large parts, remove the rest."""
    for left in _listed(root / "temp"):
        with contextlib.suppress(OSError), _taken(left) as taken:
            if taken:
                for part in left.glob(f"{_PART}*"):
                    _keep(root, part)
                shutil.rmtree(left, ignore_errors=True)


def partials(root: Path) -> list[Path]:
    """The parts of files of which nobody fetches the rest."""
    return _listed(root / "partial")


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def _taken(directory: Path) -> Iterator[bool]:
    """Whether it was left behind; nobody else can think it theirs during the block."""
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
    """Put a part where the next process looks for it, if it is worth that."""
    with contextlib.suppress(OSError):
        if not (part / "validator").exists() or (part / "content").stat().st_size <= SMALL:
            return
        kept = root / "partial" / part.name.removeprefix(_PART)
        kept.parent.mkdir(exist_ok=True)
        part.rename(kept)
