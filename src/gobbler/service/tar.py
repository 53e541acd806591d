"""Headers of tar archives: POSIX.1-1988 (ustar), and POSIX.1-2001 (pax) where that is short.

Nearly every member of a version has a short name in ASCII and less than 8 GiB; its header
is put together here, for the standard library takes several times as long. All others are
the standard library's. Owners are left out, so that what is unpacked belongs to whoever
unpacks it, and the same version gives the same archive on every host.
"""

from __future__ import annotations

import tarfile

BLOCK = 512
"""Bytes of a header; what a file holds is filled up to a multiple of it."""

END = bytes(2 * BLOCK)
"""What stands at the end of a whole archive."""

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
    """The header of a file of ``size`` bytes, changed at ``modified`` (seconds)."""
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
    """How many bytes :func:`file_header` has."""
    if len(name) <= _NAME and name.isascii() and size < _SIZE and 0 <= modified < _TIME:
        return BLOCK
    return len(file_header(name, size, modified))


def directory_header(name: str, modified: int) -> bytes:
    """The header of a directory."""
    return _library(name, tarfile.DIRTYPE, _DIRECTORY_MODE, modified)


def link_header(name: str, target: str, modified: int) -> bytes:
    """The header of a symbolic link with the text ``target``."""
    return _library(name, tarfile.SYMTYPE, _LINK_MODE, modified, target=target)


def padding(size: int) -> int:
    """How many bytes fill up a file of ``size`` bytes."""
    return -size % BLOCK


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
