"""Reading a record of the registry or of the spool, whatever stands in its place.

An administrator, a restored backup or a bad disk may leave anything under the name of a record:
a FIFO that nobody writes to, a device, a sparse file of terabytes. Reading one neither waits nor
takes more memory than a record may have.
"""

from __future__ import annotations

import errno
import os
import stat

from gobbler.errors import Code, Fault, Missing
from gobbler.fs.open import closing, kind_of
from gobbler.fs.os_errors import with_path
from gobbler.model.names import LATEST, PERMISSIONS, SUMMARY, USAGE

SMALL_LIMIT = 16 << 20
"""Largest permissions, usage, latest and summary, in bytes; a request has at most 1 MiB."""

LARGE_LIMIT = 2 << 30
"""Largest other record, in bytes: a manifest of some ten million files."""

_SMALL = {PERMISSIONS, USAGE, LATEST, SUMMARY}

_PART = 1 << 20

_REST = 4096
"""Bytes to read at a time behind the end that the file had when it was opened."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def record_limit(path: str) -> int:
    """The largest size in bytes of the record at ``path``."""
    return SMALL_LIMIT if os.path.basename(path) in _SMALL else LARGE_LIMIT


def read_record(path: str, where: str, *, own: bool = False) -> tuple[os.stat_result, bytes]:
    """The state and the content of the record at ``path``; ``where`` names it in an error.

    Raises :class:`~gobbler.errors.Missing` if it does not exist, and
    :class:`~gobbler.errors.Fault` if it is no regular file, is too large, or contains a NUL byte,
    which no JSON does. With ``own``, raises :class:`~gobbler.errors.Fault` if it belongs to another
    account.
    """
    limit = record_limit(path)
    try:
        # The built-in open() makes twice as many calls for a small file.
        with with_path(path), closing(os.open(path, _FLAGS)) as opened:
            status = os.fstat(opened)
            if own and status.st_uid != os.geteuid():
                raise Fault(f"{where} belongs to another account")
            if not stat.S_ISREG(status.st_mode):
                raise damaged(where, f"it is {kind_of(status.st_mode)}, no regular file")
            return status, _content(opened, status.st_size, limit, where)
    except (FileNotFoundError, NotADirectoryError):
        raise Missing(f"{where} does not exist", code=Code.FILE_NOT_FOUND) from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise damaged(where, "it is a socket, no regular file") from None
        if error.errno == errno.ELOOP:
            raise damaged(where, "it is a symbolic link that leads to itself") from None
        raise


def read_file(path: str, where: str, *, own: bool = False) -> bytes:
    """The content of the record at ``path``; see :func:`read_record`."""
    return read_record(path, where, own=own)[1]


def _content(opened: int, size: int, limit: int, where: str) -> bytes:
    """The content of an open file; the first NUL byte ends a sparse file of any size."""
    parts, got = [], 0
    while part := os.read(opened, min(size - got, _PART) + 1 if size > got else _REST):
        parts.append(part)
        got += len(part)
        if got > limit:
            raise damaged(where, f"it is larger than {limit} bytes")
        if b"\0" in part:
            raise damaged(where, f"there is a NUL byte in the first {got} bytes")
    return b"".join(parts)


def damaged(where: str, problem: str) -> Fault:
    """The error for a record that can't be one."""
    return Fault(f"{where} is damaged: {problem}", code=Code.DAMAGED_RECORD)
