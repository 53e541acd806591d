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

BLOCK_SIZE = 64 * 1024
"""Bytes of a block."""

VERSION_DEPTH = 3
"""Number of names in the path of a version."""

ATTEMPTS = 3
"""How often a version is walked that changes meanwhile; then it is left out."""

CHECKED_AFTER = 1000
"""Entries of a directory after which the cancel token is checked again, and names in a piece."""


STEPS_OF_DIRECTORY = 10
"""How many entries take as long to list as a directory takes to open."""


class _ChangedError(Exception):
    """A version was removed or replaced while it was walked."""


class Listing:
    """The paths in the directory ``path`` of the registry, relative to it, as an array in JSON.

    ``directory`` is the open registry. Not recursive: the entries of the directory, directories
    with a trailing ``/``. Recursive: every file below it, and empty directories with a trailing
    ``/``. Links count as files and are not followed. Leaves out versions in preparation.

    After a number of ``steps``, :meth:`blocks` pauses once, with an empty block. Close the listing
    if it may not have come to its end: between two blocks a directory may be open.
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
        self.block_size = BLOCK_SIZE
        self._blocks = self._made()

    def close(self) -> None:
        """End the list, and close what is open."""
        self._blocks.close()

    def blocks(self) -> Generator[bytes, None, None]:
        """The bytes of the array that were not taken yet: every call returns the same generator.

        Raises :class:`~gobbler.errors.Refused` or :class:`~gobbler.errors.Missing` before the
        first block if the directory can't be listed.
        """
        return self._blocks

    def _made(self) -> Generator[bytes, None, None]:
        pieces: list[bytes] = []
        gathered, separator = 0, b"["
        for piece in self._pieces():
            if not piece:
                yield b""
                continue
            pieces += (separator, piece)
            gathered += len(piece)
            separator = b","
            if gathered >= self.block_size:
                yield from _cut(b"".join(pieces), self.block_size)
                pieces, gathered = [], 0
        pieces.append(b"]" if separator == b"," else b"[]")
        yield b"".join(pieces)

    def _pieces(self) -> Iterator[bytes]:
        """The paths in JSON, separated by commas, some at a time; an empty piece is a pause."""
        depth = self._path.count("/") + 1 if self._path else 0
        if not self._recursive:
            keys = yield from self._top_keys()
            yield from _arrays(keys)
        elif depth >= VERSION_DEPTH:
            yield from self._version_or_refuse()
        else:
            yield from self._above_versions(depth)

    def _open_top(self) -> int:
        try:
            return opener()(self._directory, self._path or ".", DIRECTORY)
        except OSError as error:
            raise self._not_listed(error) from None

    def _top_keys(self) -> Generator[bytes, None, list[str]]:
        with closing(self._open_top()) as opened:
            return (yield from self._keys(opened, is_registry=not self._path))

    def _above_versions(self, depth: int) -> Iterator[bytes]:
        with closing(self._open_top()) as top:
            keys = yield from self._keys(top, is_registry=not self._path)
            waiting = [("", iter(keys))]
            begun = os.fstat(top)
        while waiting:
            prefix, left = waiting[-1]
            key = next(left, None)
            if key is None:
                waiting.pop()
            elif not key.endswith("/"):
                yield _array([prefix + key])
            elif depth + prefix.count("/") + 1 >= VERSION_DEPTH:
                yield from _each((yield from self._version(prefix + key)) or [])
            elif (inner := (yield from self._inner_keys(prefix + key))) is not None:
                if inner:
                    waiting.append((prefix + key, iter(inner)))
                else:
                    yield _array([prefix + key])
        with closing(self._open_top()) as top:
            if not os.path.samestat(os.fstat(top), begun):
                raise absent(self._path)

    def _inner_keys(self, prefix: str) -> Generator[bytes, None, list[str] | None]:
        """The content of a directory above versions; ``None`` if it has vanished."""
        try:
            with closing(self._enter(self._below(prefix))) as opened:
                return (yield from self._keys(opened))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:  # it is none of the service's own
            return []

    def _version_or_refuse(self) -> Iterator[bytes]:
        os.close(self._open_top())
        found = yield from self._version("")
        if found is None:
            raise absent(self._path)
        yield from _each(found)

    def _version(self, prefix: str) -> Generator[bytes, None, list[bytes] | None]:
        """Pieces with the paths below a version, or a directory of one.

        ``None`` if it is gone, or changes again and again.
        """
        path = self._below(prefix)
        for attempt in range(ATTEMPTS):
            try:
                with closing(self._enter(path)) as opened:
                    found = yield from self._walk(opened, prefix, is_last=attempt == ATTEMPTS - 1)
                    if self._is_still(path, opened):
                        return found
            except _ChangedError:
                continue
            except (FileNotFoundError, NotADirectoryError):
                return None
            except PermissionError:
                return [_array([prefix])] if prefix else []
        return None

    def _walk(self, top: int, prefix: str, *, is_last: bool) -> Generator[bytes, None, list[bytes]]:
        """Pieces with the paths below an open directory.

        On the last attempt, what vanishes is left out.
        """
        found: list[bytes] = []
        waiting: list[tuple[str, Iterator[str]]] = []

        def enter(inner: str, keys: list[str]) -> bool:
            """Take the names in a directory; whether there are directories in it."""
            if "/" in "".join(keys):
                waiting.append((inner, iter(keys)))
                return True
            found.extend(_arrays(keys, prefix + inner))
            return False

        keys = yield from self._keys(top)
        if keys or prefix:
            enter("", keys or [""])
        while waiting:
            inner, left = waiting[-1]
            files: list[str] = []
            for key in left:
                if not key.endswith("/"):
                    files.append(key)
                    continue
                if files:
                    found.extend(_arrays(files, prefix + inner))
                    files = []
                within = yield from self._keys_within(top, inner + key)
                if within is None:
                    if not is_last:
                        raise _ChangedError
                elif enter(inner + key, within or [""]):
                    break
            else:
                waiting.pop()
            if files:
                found.extend(_arrays(files, prefix + inner))
        return found

    def _keys_within(self, top: int, prefix: str) -> Generator[bytes, None, list[str] | None]:
        """The content of a directory below an open one; ``None`` if it has vanished."""
        try:
            with closing(open_beneath(top, prefix[:-1], DIRECTORY)) as opened:
                return (yield from self._keys(opened))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            return []

    def _is_still(self, path: str, opened: int) -> bool:
        with closing(self._enter(path)) as now:
            return os.path.samestat(os.fstat(now), os.fstat(opened))

    def _keys(self, opened: int, *, is_registry: bool = False) -> Generator[bytes, None, list[str]]:
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
                if self._steps < 0:
                    self._steps = math.inf
                    yield b""
        if is_registry:
            found = [name for name in found if name.rstrip("/") != INCOMING]
        # With the slash, all that is below a directory comes where its name with the slash does.
        found.sort()
        return found

    def _count(self, steps: int) -> None:
        self._cancel.check()
        self._steps -= steps

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


def _arrays(names: list[str], prefix: str = "") -> Iterator[bytes]:
    """``names``, each after the ``prefix``, as inner parts of an array; none takes long to make."""
    for start in range(0, len(names), CHECKED_AFTER):
        yield _array(names[start : start + CHECKED_AFTER], prefix)


def _array(names: list[str], prefix: str = "") -> bytes:
    """``names``, each after the ``prefix``, as the inner part of an array; some name is there."""
    try:
        encoded, start = msgspec.json.encode(names), msgspec.json.encode(prefix)[:-1]
    except UnicodeEncodeError:  # a name that is not UTF-8, which somebody else has made
        return _array([_as_utf8(name) for name in names], _as_utf8(prefix))
    if b'\\"' in encoded:  # a name that ends with a quotation mark and a comma looks like two
        return msgspec.json.encode([prefix + name for name in names])[1:-1]
    return start + encoded[2:-1].replace(b'","', b'",' + start)


def _as_utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _cut(block: bytes, size: int) -> Iterator[bytes]:
    for offset in range(0, len(block), size):
        yield block[offset : offset + size]
