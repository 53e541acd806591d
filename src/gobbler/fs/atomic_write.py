"""Writing records so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
import secrets

from gobbler.fs.os_errors import raising_fault

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


def write_new(path: str, data: bytes, *, dir_fd: int | None = None) -> None:
    """Make the file ``path`` with the content ``data``.

    Raises ``FileExistsError`` if there is one. Does *not* flush: see
    :mod:`gobbler.fs.flush`.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, FILE_MODE, dir_fd=dir_fd)
    with raising_fault("write", path):  # closing is a part of it: network filesystems write then
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, however short each single write is."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace(path: str, data: bytes, *, flush: bool, workspace: str | None = None) -> None:
    """Put ``data`` at ``path``, atomically: written beside it and renamed over it.

    With ``workspace``, a directory of the same filesystem, it is written there instead: what a
    crash leaves of it goes with the job. With ``flush`` the content is on disk before the
    new name is visible; the rename itself is durable only once the directory has been
    flushed, too.
    """
    directory, name = os.path.split(path)
    # Starts with "..", so that it is an internal file to every reader of the protocol.
    beside = os.path.join(
        workspace or directory, f"..tmp-{name.lstrip('.')}-{secrets.token_hex(8)}"
    )
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with raising_fault("write", path):
            try:
                write_all(descriptor, data)
                if flush:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.rename(beside, path)
    except BaseException:
        remove_quietly(beside)
        raise


def remove_quietly(path: str) -> None:
    """Remove the file ``path`` if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        return
