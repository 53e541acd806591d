"""Placing files and directories in the cache under their final names, and errors about that."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gobbler.client.cache.partial import Scratch
from gobbler.client.optional_step import optional_step
from gobbler.errors import Code, Fault, Forbidden, GobblerError, quoted
from gobbler.fs.directories import make_directories
from gobbler.model.progress import Progress

RENAME_ATTEMPTS = 100
"""Attempts to rename to a path that other processes change, too."""


class LeaseProgress:
    """Renews the lease of a scratch directory whenever the work advances."""

    def __init__(self, progress: Progress, scratch: Scratch) -> None:
        self._scratch = scratch
        self._progress = progress
        self.expect = progress.expect

    def advance(self, files: int, size: int) -> None:
        """Renew the lease, and pass the progress on."""
        self._scratch.renew()
        self._progress.advance(files, size)


def mark_used(path: str, exists: Callable[[str], bool]) -> bool:
    """Whether ``path`` is there; if it is, mark it as used now."""
    if not exists(path):
        return False
    # The cache may be on a filesystem that is mounted read-only.
    with contextlib.suppress(OSError):
        modified = os.stat(path).st_mtime_ns
        now = time.time_ns()
        os.utime(path, ns=(now, now if os.path.isdir(path) else modified))
    return True


def flush_file(path: Path) -> None:
    """Flush ``path``: a power cut must not leave a file that has its name but not its content.

    A filesystem that can't flush does not keep anybody from reading.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with optional_step("flush files of the cache"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_file(new: Path, target: str) -> None:
    """Rename the file ``new`` to ``target``, and make the directories above."""
    for _ in range(RENAME_ATTEMPTS):
        make_directories(os.path.dirname(target))
        with contextlib.suppress(FileNotFoundError):  # pruning removes empty directories
            new.replace(target)
            return
    raise _too_busy(target)


def put_tree(new: Path, tree: Path, is_good: Callable[[], bool]) -> None:
    """Rename ``new`` to ``tree``; a tree that is there moves beside ``new``.

    A tree that another process has put there meanwhile stays if it ``is_good``.
    """
    make_directories(str(tree.parent))
    for attempt in range(RENAME_ATTEMPTS):
        if is_good():
            return
        with contextlib.suppress(FileNotFoundError):
            tree.rename(new.with_name(f"old{attempt}"))
        try:
            new.rename(tree)
        except OSError as error:
            # If the tree is not there now, another process may be about to replace it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
    raise _too_busy(str(tree))


def _too_busy(place: str) -> Fault:
    return Fault(
        f"other processes keep changing {quoted(place)}",
        code=Code.CONTENTION,
        hint=f"Try again, or {ANOTHER_PLACE}.",
    )


ANOTHER_PLACE = "use another directory: --cache or GOBBLER_CACHE"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def cache_errors(cache: str) -> Iterator[None]:
    """Raise an ``OSError`` about the cache directory ``cache`` as ours, with a hint."""
    try:
        yield
    except GobblerError:
        raise  # some of them are an OSError as well
    except OSError as error:
        raise _cache_error(error, cache) from error


def _cache_error(error: OSError, cache: str) -> GobblerError:
    message = error.strerror or str(error)
    if error.errno in _FULL:
        return Fault(
            f"the cache {quoted(cache)} has no space left: {message}",
            code=Code.DISK_FULL,
            hint=f"Free some with gobbler cache prune, or {ANOTHER_PLACE}.",
        )
    where = _where(error, cache)
    if error.errno in _FORBIDDEN:
        return Forbidden(
            f"the cache {quoted(cache)} can't be used: {message}: {quoted(where)}",
            code=Code.READ_ONLY if error.errno == errno.EROFS else Code.UNWRITABLE,
            hint=f"Correct its permissions, or {ANOTHER_PLACE}.",
        )
    if error.errno == errno.ENAMETOOLONG:
        return Fault(
            f"a path is too long for the cache {quoted(cache)}: {message}",
            code=Code.IO_ERROR,
            hint=f"Fetch its directory instead of the whole version, or {ANOTHER_PLACE}.",
        )
    return Fault(
        f"the cache {quoted(cache)} is damaged: {message}: {quoted(where)}",
        code=Code.IO_ERROR,
        hint="Find what is damaged with gobbler cache verify, or remove that path: its content "
        f"is fetched again. Or {ANOTHER_PLACE}.",
    )


def _where(error: OSError, cache: str) -> str:
    path = error.filename2 or error.filename
    where = os.fsdecode(path) if isinstance(path, str | bytes) else cache
    if where.startswith("/proc/self/fd/"):  # see gobbler.client.cache.user_directory
        return "/".join((cache, *where.split("/")[5:]))
    return where
