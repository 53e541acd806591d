"""Archives of a version, or of a directory in one: their content, and the tar format.

The tree is walked twice: once to measure the archive, and once to read it. If the second walk
finds anything else, the archive ends with an error: a version never changes, so it is being
removed or replaced.

Archives are POSIX.1-1988 (ustar), with the extensions of POSIX.1-2001 (pax) where they are needed.
Nearly every member of a version has a short name in ASCII and less than 8 GiB; its header is
made here, since the standard library takes several times as long. It makes all other headers.
Owners are left out, so that unpacked files belong to the account that unpacks them, and a
version gives the same archive on every host.
"""

from __future__ import annotations

import enum
import operator
import os
import stat
import tarfile
from collections.abc import Generator, Iterator

from gobbler.errors import Code, Fault, quoted
from gobbler.fs.open import DIRECTORY, Beneath, closing, open_beneath
from gobbler.model.names import is_internal
from gobbler.model.progress import CancelToken
from gobbler.rules.links import relative_target
from gobbler.service.registry_files import (
    FLAGS,
    READ_SIZE,
    RegistryFiles,
    checked,
    no_file,
    not_there,
)

PIECES = 2048
"""Largest number of pieces to join: many empty files are few bytes, but slow to read."""

DirectoryFingerprint = tuple[int, int, int, int]
"""Device, inode and times of change of a directory; they change with its entries."""

Listed = tuple[str, int, list["os.DirEntry[str]"]]
"""Path of a directory in the registry, its descriptor, and its entries without directories."""


_BY_NAME = operator.attrgetter("name")


class LinkMode(str, enum.Enum):
    """The form of links in an archive: the file that a link leads to, or the link."""

    FILES = "files"
    LINKS = "links"


class ArchiveContents:
    """The directory ``top`` of the registry as an archive; for one thread at a time.

    Files of more than ``max_size`` bytes are left out. ``cancel`` ends the walk. Close it when
    you are done.
    """

    def __init__(
        self,
        files: RegistryFiles,
        top: str,
        links: LinkMode,
        max_size: int | None,
        cancel: CancelToken,
    ) -> None:
        self._files = files
        self._top = top
        self._links = links
        self._max_size = max_size
        self._cancel = cancel
        self._beneath = Beneath(files.directory)
        self._fingerprints: dict[str, DirectoryFingerprint] = {}
        self.block_size = READ_SIZE
        self._length: int | None = None

    def close(self) -> None:
        """Close all directories."""
        self._beneath.close()

    def measure(self) -> int:
        """Walk the tree, and return the length of the archive in bytes.

        Raises :class:`~gobbler.errors.Missing`, naming the path, if there is no such
        directory, or if ``/fetch`` would not serve a file in it.
        """
        length = len(END)
        for path, descriptor, entries in self._directories():
            status = os.fstat(descriptor)
            self._fingerprints[path] = _fingerprint(status)
            length += len(directory_header(path, _modified(status)))
            for entry in entries:
                length += self._length_of(f"{path}/{entry.name}", entry)
        self._length = length
        return length

    def _length_of(self, member: str, entry: os.DirEntry[str]) -> int:
        self._cancel.check()
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise not_there(error, member) from None
        if stat.S_ISLNK(status.st_mode):
            with closing(self._files.open(member, self._beneath).descriptor) as file:
                header = self._link(member, status)
                if header is not None:
                    return len(header)
                status = os.fstat(file)
        elif not stat.S_ISREG(status.st_mode):
            raise no_file(status.st_mode, member)
        size = status.st_size
        if self._max_size is not None and size > self._max_size:
            return 0
        return file_header_length(member, size, _modified(status)) + size + padding(size)

    def blocks(self) -> Generator[bytes, None, None]:
        """The bytes of the archive; as many as :meth:`measure` returned, if it was called.

        Raises :class:`~gobbler.errors.GobblerError` or ``OSError``, before the end of the
        archive, if the tree is not the one that was measured, or changes meanwhile.
        """
        left = 0 if self._length is None else self._length - len(END)
        for block in self._files_and_all():
            if self._length is not None:
                left -= len(block)
                if left < 0:
                    raise _changed(self._top)
            yield block
        for path, fingerprint in self._fingerprints.items():
            with closing(self._enter(path)) as descriptor:
                if _fingerprint(os.fstat(descriptor)) != fingerprint:
                    raise _changed(path)
        if left:
            raise _changed(self._top)
        yield END

    def _files_and_all(self) -> Iterator[bytes]:
        pieces: list[bytes] = []
        gathered = 0
        for path, descriptor, entries in self._directories():
            directory = os.fstat(descriptor)
            fingerprint = _fingerprint(directory)
            if self._length is None:
                self._fingerprints[path] = fingerprint
            elif fingerprint != self._fingerprints.get(path):
                raise _changed(path)
            pieces.append(directory_header(path, _modified(directory)))
            for entry in entries:
                self._cancel.check()
                member = f"{path}/{entry.name}"
                is_link = entry.is_symlink()
                if is_link and (header := self._link(member, entry.stat(follow_symlinks=False))):
                    pieces.append(header)
                    continue
                with closing(self._open(member, entry, descriptor)) as file:
                    status = os.fstat(file)
                    size = status.st_size
                    if self._max_size is not None and size > self._max_size:
                        continue
                    pieces.append(file_header(member, size, _modified(status)))
                    if size < self.block_size:
                        pieces += (_whole(member, file, size), bytes(padding(size)))
                        gathered += size
                    else:
                        yield b"".join(pieces)
                        yield from self._parts(member, file, size)
                        pieces, gathered = [bytes(padding(size))], 0
                if gathered >= self.block_size or len(pieces) >= PIECES:
                    yield b"".join(pieces)
                    pieces, gathered = [], 0
        if any(pieces):
            yield b"".join(pieces)

    def _parts(self, member: str, file: int, size: int) -> Iterator[bytes]:
        left = size
        while left:
            self._cancel.check()
            part = os.read(file, min(self.block_size, left))
            if not part:
                raise _changed(member)
            left -= len(part)
            yield part

    def _open(self, member: str, entry: os.DirEntry[str], directory: int) -> int:
        if entry.is_symlink():
            return self._files.open(member, self._beneath).descriptor
        try:
            flags = FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC
            return checked(os.open(entry.name, flags, dir_fd=directory), member).descriptor
        except OSError as error:
            raise not_there(error, member) from None

    def _link(self, member: str, status: os.stat_result) -> bytes | None:
        """The header of a link; ``None`` if it is stored as its file."""
        if self._links is LinkMode.FILES:
            return None
        inner = self._files.link(member)
        if inner is None:  # a whitelisted directory is elsewhere on the host that unpacks
            return None
        return link_header(member, relative_target(member, inner), _modified(status))

    def _directories(self) -> Iterator[Listed]:
        """All directories from ``top`` on, each open while it is current.

        The service's own files come first in each, so that a reader knows the manifest before
        the files.
        """
        waiting = [self._top]
        while waiting:
            path = waiting.pop()
            with closing(self._enter(path)) as descriptor:
                deeper: list[str] = []
                internal: list[os.DirEntry[str]] = []
                others: list[os.DirEntry[str]] = []
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        self._cancel.check()
                        if entry.is_dir(follow_symlinks=False):
                            deeper.append(f"{path}/{entry.name}")
                        elif is_internal(entry.name):
                            internal.append(entry)
                        else:
                            others.append(entry)
                yield (
                    path,
                    descriptor,
                    sorted(internal, key=_BY_NAME) + sorted(others, key=_BY_NAME),
                )
            waiting += sorted(deeper, reverse=True)

    def _enter(self, path: str) -> int:
        try:
            return open_beneath(self._files.directory, path, DIRECTORY)
        except OSError as error:
            raise not_there(error, path) from None


def _whole(member: str, file: int, size: int) -> bytes:
    data = os.read(file, size) if size else b""
    if len(data) != size:
        raise _changed(member)
    return data


def _modified(status: os.stat_result) -> int:
    return int(status.st_mtime)


def _fingerprint(status: os.stat_result) -> DirectoryFingerprint:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _changed(path: str) -> Fault:
    return Fault(f"{quoted(path)} changed while it was read", code=Code.VERSION_CHANGED)


TAR_BLOCK = 512
"""Bytes of a header; the content of a file is padded to a multiple of it."""

END = bytes(2 * TAR_BLOCK)
"""The end of a whole archive."""

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_LINK_MODE = 0o777

_NAME = 100
_PREFIX = 155
_SIZE = 8**11
_TIME = 8**11

_IDS = b"0000644\0" + b"0000000\0" * 2
_TAIL = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
_FIXED_SUM = sum(_IDS) + sum(_TAIL) + 8 * ord(" ")


def file_header(name: str, size: int, modified: int) -> bytes:
    """The header of a file of ``size`` bytes; ``modified`` is in seconds since the epoch."""
    split = _split(name) if size < _SIZE and 0 <= modified < _TIME else None
    if split is None:
        return _library(name, tarfile.REGTYPE, _FILE_MODE, modified, size=size)
    prefix, base = split
    numbers = b"%011o\0%011o\0" % (size, modified)
    total = _FIXED_SUM + sum(base) + sum(prefix) + sum(numbers)
    return b"%b%b%b%06o\0 %b%b" % (
        base.ljust(_NAME, b"\0"),
        _IDS,
        numbers,
        total,
        _TAIL,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )


def file_header_length(name: str, size: int, modified: int) -> int:
    """The length of :func:`file_header` in bytes."""
    if len(name) <= _NAME and name.isascii() and size < _SIZE and 0 <= modified < _TIME:
        return TAR_BLOCK
    return len(file_header(name, size, modified))


def directory_header(name: str, modified: int) -> bytes:
    """The header of a directory."""
    return _library(name, tarfile.DIRTYPE, _DIRECTORY_MODE, modified)


def link_header(name: str, target: str, modified: int) -> bytes:
    """The header of a symbolic link with the text ``target``."""
    return _library(name, tarfile.SYMTYPE, _LINK_MODE, modified, target=target)


def padding(size: int) -> int:
    """Bytes of padding after a file of ``size`` bytes."""
    return -size % TAR_BLOCK


def _split(name: str) -> tuple[bytes, bytes] | None:
    """``name`` as the two fields of a ustar header, if it fits into them."""
    if not name.isascii():
        return None
    raw = name.encode()
    if len(raw) <= _NAME:
        return b"", raw
    cut = raw.find(b"/", len(raw) - _NAME - 1)
    if cut <= 0 or cut > _PREFIX or cut == len(raw) - 1:
        return None
    return raw[:cut], raw[cut + 1 :]


def _library(
    name: str, kind: bytes, mode: int, modified: int, *, size: int = 0, target: str = ""
) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = mode
    member.mtime = modified
    member.size = size
    member.linkname = target
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
