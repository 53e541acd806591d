"""Lists of the registry: the entries of one directory, or all files below one.

A list is made block by block, in the order of its paths, so that it takes little memory however
long it is. Versions come and go meanwhile. So each version is walked by itself, and counts only
if it was the same from beginning to end: no list has half of one.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Generator, Iterator
from itertools import islice

import msgspec

from gobbler.errors import Code, GobblerError, Refused, os_error_code, quoted
from gobbler.fs.open import DIRECTORY, closing, open_beneath, opener
from gobbler.model.names import INCOMING
from gobbler.model.progress import CancelToken
from gobbler.service.registry_files import absent

VERSION_DEPTH = 3
"""Number of names in the path of a version."""

ATTEMPTS = 3
"""How often a version is walked that changes meanwhile; then it is left out."""

CHECKED_AFTER = 1000
"""Entries of a directory after which the cancel token is checked again."""


STEPS_OF_DIRECTORY = 10
"""How many entries take as long to list as a directory takes to open."""


class TooLongError(Exception):
    """A list takes more steps than it may."""


class _ChangedError(Exception):
    """A version was removed or replaced while it was walked."""


class Listing:
    """The paths in the directory ``path`` of the registry, relative to it, as an array in JSON.

    ``directory`` is the open registry. Not recursive: the entries of the directory, directories
    with a trailing ``/``. Recursive: every file below it, and empty directories with a trailing
    ``/``. Links count as files and are not followed. Leaves out versions in preparation.

    Beyond a number of ``steps``, :meth:`blocks` raises :class:`TooLongError`.
    """

    def __init__(
        self,
        directory: int,
        path: str,
        cancel: CancelToken,
        *,
        recursive: bool,
        steps: float = math.inf,
    ) -> None:
        self._directory = directory
        self._path = path
        self._cancel = cancel
        self._recursive = recursive
        self._steps = steps
        self.block_size = 64 * 1024

    def close(self) -> None:
        """Do nothing: no file stays open between two blocks."""

    def blocks(self) -> Generator[bytes, None, None]:
        """The bytes of the array.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing` before the
        first block if the directory can't be listed.
        """
        pieces: list[bytes] = []
        gathered, separator = 0, b"["
        for piece in self._pieces():
            pieces += (separator, piece)
            gathered += len(piece)
            separator = b","
            if gathered >= self.block_size:
                yield from _cut(b"".join(pieces), self.block_size)
                pieces, gathered = [], 0
        pieces.append(b"]" if separator == b"," else b"[]")
        yield b"".join(pieces)

    def _pieces(self) -> Iterator[bytes]:
        """The paths in JSON, separated by commas, some at a time; no piece is empty."""
        depth = self._path.count("/") + 1 if self._path else 0
        if not self._recursive:
            keys = self._top_keys()
            if keys:
                yield _array(keys)
        elif depth >= VERSION_DEPTH:
            yield from self._version_or_refuse()
        else:
            yield from self._above_versions(depth)

    def _open_top(self) -> int:
        try:
            return opener()(self._directory, self._path or ".", DIRECTORY)
        except OSError as error:
            raise self._not_listed(error) from None

    def _top_keys(self) -> list[str]:
        with closing(self._open_top()) as opened:
            return self._keys(opened, is_registry=not self._path)

    def _above_versions(self, depth: int) -> Iterator[bytes]:
        with closing(self._open_top()) as top:
            waiting = [("", iter(self._keys(top, is_registry=not self._path)))]
            begun = os.fstat(top)
        while waiting:
            prefix, left = waiting[-1]
            key = next(left, None)
            if key is None:
                waiting.pop()
            elif not key.endswith("/"):
                yield _array([prefix + key])
            elif depth + prefix.count("/") + 1 >= VERSION_DEPTH:
                yield from _each(self._version(prefix + key) or [])
            elif (inner := self._inner_keys(prefix + key)) is not None:
                if inner:
                    waiting.append((prefix + key, iter(inner)))
                else:
                    yield _array([prefix + key])
        with closing(self._open_top()) as top:
            if not os.path.samestat(os.fstat(top), begun):
                raise absent(self._path)

    def _inner_keys(self, prefix: str) -> list[str] | None:
        """The content of a directory above versions; ``None`` if it has vanished."""
        try:
            with closing(self._enter(self._below(prefix))) as opened:
                return self._keys(opened)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:  # it is none of the service's own
            return []

    def _version_or_refuse(self) -> Iterator[bytes]:
        os.close(self._open_top())
        found = self._version("")
        if found is None:
            raise absent(self._path)
        yield from _each(found)

    def _version(self, prefix: str) -> list[bytes] | None:
        """Pieces with the paths below a version, or a directory of one.

        ``None`` if it is gone, or changes again and again.
        """
        path = self._below(prefix)
        for attempt in range(ATTEMPTS):
            try:
                with closing(self._enter(path)) as opened:
                    found = self._walk(opened, prefix, is_last=attempt == ATTEMPTS - 1)
                    if self._is_still(path, opened):
                        return found
            except _ChangedError:
                continue
            except (FileNotFoundError, NotADirectoryError):
                return None
            except PermissionError:
                return [_array([prefix])] if prefix else []
        return None

    def _walk(self, top: int, prefix: str, *, is_last: bool) -> list[bytes]:
        """Pieces with the paths below an open directory.

        On the last attempt, what vanishes is left out.
        """
        found: list[bytes] = []
        names: list[str] = []
        waiting: list[tuple[str, Iterator[str]]] = []

        def enter(inner: str, keys: list[str]) -> bool:
            """Take the names in a directory; whether there are directories in it."""
            if "/" in "".join(keys):
                waiting.append((inner, iter(keys)))
                return True
            names.extend([prefix + inner + key for key in keys])
            return False

        enter("", self._keys(top) or ([""] if prefix else []))
        while waiting:
            inner, left = waiting[-1]
            for key in left:
                if len(names) >= CHECKED_AFTER:
                    found.append(_array(names))
                    names.clear()
                if not key.endswith("/"):
                    names.append(prefix + inner + key)
                elif (keys := self._keys_within(top, inner + key)) is None:
                    if not is_last:
                        raise _ChangedError
                elif enter(inner + key, keys or [""]):
                    break
            else:
                waiting.pop()
        if names:
            found.append(_array(names))
        return found

    def _keys_within(self, top: int, prefix: str) -> list[str] | None:
        """The content of a directory below an open one; ``None`` if it has vanished."""
        try:
            with closing(open_beneath(top, prefix[:-1], DIRECTORY)) as opened:
                return self._keys(opened)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            return []

    def _is_still(self, path: str, opened: int) -> bool:
        with closing(self._enter(path)) as now:
            return os.path.samestat(os.fstat(now), os.fstat(opened))

    def _keys(self, opened: int, *, is_registry: bool = False) -> list[str]:
        """The names in a directory, in the order of the paths below it."""
        found: list[str] = []
        self._count(STEPS_OF_DIRECTORY)
        with os.scandir(opened) as entries:
            while some := [
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in islice(entries, CHECKED_AFTER)
            ]:
                found += some
                self._count(len(some))
        if is_registry:
            found = [name for name in found if name.rstrip("/") != INCOMING]
        # With the slash, all that is below a directory comes where its name with the slash does.
        found.sort()
        return found

    def _count(self, steps: int) -> None:
        self._cancel.check()
        self._steps -= steps
        if self._steps < 0:
            raise TooLongError

    def _not_listed(self, error: OSError) -> GobblerError:
        """The error for a directory that could not be opened."""
        if isinstance(error, FileNotFoundError):
            return absent(self._path)
        if not isinstance(error, NotADirectoryError) and error.errno != errno.ELOOP:
            return Refused(
                f"could not list {quoted(self._path)}: {error.strerror}",
                code=os_error_code(error),
            )
        parts = self._path.split("/")
        for count in range(1, len(parts) + 1):
            try:
                mode = os.lstat("/".join(parts[:count]), dir_fd=self._directory).st_mode
            except OSError:
                return absent(self._path)
            if stat.S_ISLNK(mode):
                return Refused(
                    f"{quoted(self._path)} is or leads through a symbolic link",
                    code=Code.SYMBOLIC_LINK,
                )
        return Refused(
            f"{quoted(self._path)} is not a directory of the registry", code=Code.NOT_A_DIRECTORY
        )

    def _below(self, prefix: str) -> str:
        return "/".join(filter(None, (self._path, prefix.rstrip("/"))))

    def _enter(self, path: str) -> int:
        return open_beneath(self._directory, path or ".", DIRECTORY)


def _each(pieces: list[bytes]) -> Iterator[bytes]:
    """The pieces in order; each is forgotten once it is used."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()


def _array(paths: list[str]) -> bytes:
    """``paths`` as the inner part of an array."""
    try:
        return msgspec.json.encode(paths)[1:-1]
    except UnicodeEncodeError:  # a name that is not UTF-8, which somebody else has made
        raw = [os.fsencode(path) for path in paths]
        return msgspec.json.encode([path.decode("utf-8", "replace") for path in raw])[1:-1]


def _cut(block: bytes, size: int) -> Iterator[bytes]:
    for offset in range(0, len(block), size):
        yield block[offset : offset + size]
