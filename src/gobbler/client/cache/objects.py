"""The content store of the cache: files with the same content are stored once.

::

    objects/{first digit}/{md5sum}-{size}     a further name (hard link) of a file

A file gets its name here after it was compared with a manifest and flushed. It is compared again
when it is reused, so that damage does not spread: a damaged file loses its name here. Where the
filesystem has no hard links, or allows no more for a file, files are stored as often as they are
fetched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from gobbler.client.expected import file_problem
from gobbler.client.parallel import Stop
from gobbler.model.records import Entry

_NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.EXDEV,
    errno.EMLINK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
)


class Objects:
    """The files below ``{root}/objects``."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/objects"

    def is_empty(self) -> bool:
        """Whether no file is stored here."""
        return not os.path.isdir(self._root)

    def find_content(self, entry: Entry) -> str | None:
        """The path of the file with the content of ``entry``, if it is here; not compared."""
        path = self._path(entry)
        return path if _is_kept(entry) and os.path.isfile(path) else None

    def reuse(self, entry: Entry, target: str, stop: Stop) -> bool:
        """Make ``target`` a name of the file with the content of ``entry``, if it is here."""
        if not _is_kept(entry):
            return False
        path = self._path(entry)
        try:
            os.link(path, target, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        if file_problem(Path(target), entry, stop) is None:
            return True
        _drop(path)
        os.unlink(target)
        return False

    def reuse_same(self, entry: Entry, data: bytes, target: str) -> bool:
        """Make ``target`` a name of the file with the content ``data``, if it is here."""
        if not _is_kept(entry):
            return False
        path = self._path(entry)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            same = os.read(descriptor, len(data) + 1) == data
        finally:
            os.close(descriptor)
        if not same:
            _drop(path)
            return False
        try:
            os.link(path, target, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in _NO_LINKS:
                return False
            raise
        return True

    def add(self, files: Iterable[tuple[str, Entry]]) -> None:
        """Add ``files``, which are flushed, and the same as their entries.

        Keeps one of several files with the same content.
        """
        for path, entry in files:
            if not _is_kept(entry):
                continue
            name = self._path(entry)
            try:
                _link(path, name)
            except FileExistsError:
                _replace(path, name, entry)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise

    def _path(self, entry: Entry) -> str:
        return f"{self._root}/{entry.md5sum[:1]}/{entry.md5sum}-{entry.size}"

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        """Every file that is stored here."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as directories:
            for directory in directories:
                with os.scandir(directory.path) as entries:
                    found = list(entries)
                yield from found


def _link(path: str, name: str) -> None:
    try:
        os.link(path, name, follow_symlinks=False)
    except FileNotFoundError:
        # Its directory is not there yet, or was removed with all of the cache.
        os.makedirs(os.path.dirname(name), exist_ok=True)
        os.link(path, name, follow_symlinks=False)


def _is_kept(entry: Entry) -> bool:
    # Empty files take no space, and may be more than a file may have links.
    return entry.size > 0


def _replace(path: str, name: str, entry: Entry) -> None:
    """Make ``path`` another name of ``name``, which should have the same content."""
    mine, other = os.stat(path), os.stat(name)
    if os.path.samestat(mine, other):
        return
    if file_problem(Path(name), entry, Stop()) is not None:
        # It was damaged after it was added.
        _drop(name)
        with contextlib.suppress(OSError):
            os.link(path, name, follow_symlinks=False)
        return
    beside = f"{path}.{secrets.token_hex(8)}"
    with contextlib.suppress(OSError):  # two files are as good as one
        os.link(name, beside, follow_symlinks=False)
        os.rename(beside, path)


def _drop(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)
