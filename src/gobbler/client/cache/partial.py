"""Scratch directories for downloads, and partial files that a later download resumes.

::

    temp/{random}/          one process fetches something
        lock                the lease of that process
        ...
        part-{key}/         a large file; see gobbler.client.download
    temp/{key}/             the same; no other process fetches that meanwhile
    partial/{key}/          a large file of which no process fetches the rest

A rename moves a part into ``partial`` and out of it, so that at most one process resumes it.
The next process that makes a scratch directory recovers those of processes that were killed.

If many processes need the same, as the tasks of a job array do, one fetches it and the others
wait (*single flight*). That only saves work: any number of processes may fetch the same. So a
process does not wait for one that has been silent for a while, wherever that is stuck.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gobbler.client.cache.user_directory import DIRECTORY_MODE
from gobbler.client.download import SMALL_FILE
from gobbler.client.notices import Waiting, notify
from gobbler.client.optional_step import optional_step
from gobbler.fs.lease import EXPIRY_SECONDS, Lease, acquire, take_over
from gobbler.fs.removal import remove_tree_quietly

ABANDONED_SECONDS = 30 * 24 * 3600
"""Seconds after which a scratch directory without a lock is abandoned."""

SILENT_SECONDS = 120.0
"""Seconds without a renewal after which nobody waits for a process any more.

It renews its lease whenever the work advances; a host of a network filesystem may see that up to
a minute later.
"""

UNLOCKED_SECONDS = 5.0
"""Seconds to wait for a process that has not locked its directory: it does so at once, or can't."""

_FIRST_POLL = 0.02
_LONGEST_POLL = 0.5

_TOLD_AFTER = 10.0
"""Seconds after which a process that waits says so."""

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
        """Renew the lease, so that other processes see that this one lives."""
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
    _prepare(root)
    with _removed_at_the_end(_make_random(root)) as scratch:
        yield scratch


@contextlib.contextmanager
def single_flight(
    root: Path, key: str, what: str, is_done: Callable[[], bool]
) -> Iterator[Scratch | None]:
    """A scratch directory for a fetch of ``key``; ``None`` if another process has done it.

    If another process fetches ``key``, waits until that ends. ``is_done`` returns whether that
    has led to what is needed. ``what`` names it for the user.
    """
    _prepare(root)
    scratch = _make_or_wait(root, key, what, is_done)
    if scratch is None:
        yield None
        return
    with _removed_at_the_end(scratch):
        yield scratch


def _prepare(root: Path) -> None:
    temp = root / "temp"
    if not temp.is_dir():
        for directory in (root, temp):
            directory.mkdir(DIRECTORY_MODE, exist_ok=True)
    recover(root)


@contextlib.contextmanager
def _removed_at_the_end(scratch: Scratch) -> Iterator[Scratch]:
    try:
        yield scratch
    finally:
        remove_tree_quietly(scratch.path)
        if scratch._lease is not None:
            scratch._lease.close()


def _make_random(root: Path) -> Scratch:
    while True:
        scratch = _make(root, secrets.token_hex(8))
        if scratch is not None:
            return scratch


def _make(root: Path, name: str) -> Scratch | None:
    """The new scratch directory ``name``; ``None`` if another process has it, or removes it."""
    path = root / "temp" / name
    try:
        path.mkdir()
    except FileExistsError:
        return None
    try:
        lease = acquire(str(path / _LOCK))
    except FileNotFoundError:
        return None  # a process that waited too long for the lock has removed it
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            remove_tree_quietly(path)
            raise
        return Scratch(root, path, None)  # recovered once it is old
    if lease is None:
        return None  # a recovery found it before it was locked, and removes it
    if (path / _LOCK).exists():
        return Scratch(root, path, lease)
    lease.close()
    return None


def _make_or_wait(root: Path, key: str, what: str, is_done: Callable[[], bool]) -> Scratch | None:
    started = time.monotonic()
    holder = _Holder(root / "temp" / key)
    pause, told = _FIRST_POLL, False
    while True:
        scratch = _make(root, key)
        if scratch is not None:
            # It may be done by now, though this host of a network filesystem does not see it yet:
            # it remembers what was not there until it reads the directory again.
            if pause > _FIRST_POLL and _listed(root / "trees") is not None and is_done():
                with _removed_at_the_end(scratch):
                    return None
            return scratch
        if is_done():
            return None
        if holder.is_gone():
            continue
        if holder.is_silent():
            return _make_random(root)
        if not told and time.monotonic() - started > _TOLD_AFTER:
            told = True
            notify(f"waiting for another process, which fetches {what}", Waiting)
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL)


class _Holder:
    """The process that has the scratch directory ``path``, as far as another one sees."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path / _LOCK
        self._seen: tuple[int, int] | None = None
        self._since = time.monotonic()

    def is_gone(self) -> bool:
        """Whether it has ended; then its directory has been removed."""
        if not self._path.exists():
            return True
        try:
            with _taken_over(self._path, silence=SILENT_SECONDS) as is_ours:
                if is_ours:
                    _salvage(self._path)
                return is_ours
        except OSError:
            return not self._path.exists()

    def is_silent(self) -> bool:
        """Whether it has not renewed its lease for long, or never had one."""
        now = time.monotonic()
        state = self._state()
        if state != self._seen:
            self._seen, self._since = state, now
        if state is None:
            # An empty directory of a process that was killed before it locked it.
            if now - self._since > UNLOCKED_SECONDS:
                with contextlib.suppress(OSError):
                    self._path.rmdir()
                return True
            return False
        return now - self._since > SILENT_SECONDS

    def _state(self) -> tuple[int, int] | None:
        try:
            # Opened, because a network filesystem then asks its server.
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            return status.st_ino, status.st_mtime_ns
        finally:
            os.close(descriptor)


def recover(root: Path) -> None:
    """Remove the scratch directories of processes that were killed; keep their large parts."""
    for left in _listed(root / "temp"):
        with contextlib.suppress(OSError), _taken_over(left) as is_ours:
            if is_ours:
                _salvage(left)


def _salvage(left: Path) -> None:
    """Remove a scratch directory whose process is gone; keep its large parts."""
    for part in left.glob(f"{_PART}*"):
        _keep(left.parents[1], part)
    remove_tree_quietly(left)


def partials(root: Path) -> list[Path]:
    """The parts that no process is completing."""
    return _listed(root / "partial")


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def _taken_over(directory: Path, *, silence: float = EXPIRY_SECONDS) -> Iterator[bool]:
    """Whether its process is gone; then this one holds its lease during the block."""
    if not (directory / _LOCK).exists():
        yield time.time() - directory.stat().st_mtime > ABANDONED_SECONDS
        return
    lease = take_over(str(directory / _LOCK), silence=silence)
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
