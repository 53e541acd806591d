"""Bringing a directory into staging, from where the service takes it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from typing import NamedTuple

from gobbler.client.connecting.submit import staging_closed, staging_missing
from gobbler.client.errors import NotThere
from gobbler.client.progress import Progress
from gobbler.client.uploading.checksums import Checksums
from gobbler.client.uploading.sending import send
from gobbler.client.workers import Stop, for_each
from gobbler.disk.instep import CHUNK
from gobbler.errors import Refused, quoted
from gobbler.names import is_internal


def allocate_upload_directory(staging: str, *, create: bool = True) -> str:
    """The path of a directory in ``staging`` that is nobody else's.

    With ``create`` it is made, with the permissions that the umask and the ACLs of staging
    give, so that the service can read it.
    """
    while True:
        path = os.path.join(staging, f"upload-{secrets.token_hex(10)}")
        if os.path.lexists(path):
            continue
        if create:
            _make(path, staging)
        return path


def _make(path: str, staging: str) -> None:
    try:
        os.mkdir(path)
    except (FileNotFoundError, NotADirectoryError):
        raise staging_missing(staging) from None
    except PermissionError:
        raise staging_closed(staging) from None


class Staged(NamedTuple):
    """A directory that stands in staging: its bare name, and the path of it if it is our copy."""

    name: str
    copy: str | None

    @property
    def is_copy(self) -> bool:
        """Whether it was copied there for this upload."""
        return self.copy is not None

    def remove(self) -> None:
        """Remove what is left of a copy; what the service has consumed is gone already."""
        if self.copy is not None:
            shutil.rmtree(self.copy, ignore_errors=True)


@contextlib.contextmanager
def staged(
    directory: str,
    staging: str,
    *,
    ignore_dot: bool,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Iterator[Staged]:
    """What :func:`stage` answers, removed at the end of the block if it is a copy."""
    source = stage(
        directory,
        staging,
        ignore_dot=ignore_dot,
        concurrent=concurrent,
        progress=progress,
        checksums=checksums,
    )
    try:
        yield source
    finally:
        source.remove()


def stage(
    directory: str,
    staging: str,
    *,
    ignore_dot: bool,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Staged:
    """``directory`` itself if it stands directly in ``staging``, else a copy.

    Internal names, and with ``ignore_dot`` those that start with a dot, are not copied,
    since the service would not take them. ``concurrent`` files are copied at a time.
    ``checksums`` is told of theirs, or of the files to be hashed.
    """
    directory = os.path.abspath(directory)
    _check(directory, staging)
    parent, name = os.path.split(directory)
    if os.path.realpath(parent) == os.path.realpath(staging) and not os.path.islink(directory):
        return Staged(name, None)
    copy = allocate_upload_directory(staging, create=False)
    source = Staged(os.path.basename(copy), copy)

    def one(file: _File, stop: Stop) -> None:
        path, _ = file
        here, there = f"{directory}/{path}", f"{copy}/{path}"
        send(path, here, there, lambda size: progress.advance(0, size), stop, checksums)
        progress.advance(1, 0)

    try:
        _make(copy, staging)  # in here: Ctrl-C may come at the moment it is made
        files = list(_prepare(directory, copy, ignore_dot))
        # Large ones first: they are hashed while the others are copied.
        files.sort(key=lambda file: file[1].st_size < CHUNK)
        progress.expect(len(files), sum(status.st_size for _, status in files))
        for_each(one, files, concurrent)
    except BaseException:
        source.remove()
        raise
    return source


def _check(directory: str, staging: str) -> None:
    if not os.path.exists(directory):
        raise NotThere(f"the directory {quoted(directory)} is not there", directory)
    if not os.path.isdir(directory):
        raise Refused(f"{quoted(directory)} is not a directory", hint="Upload its directory.")
    real = os.path.realpath(directory)
    if os.path.commonpath([real, os.path.realpath(staging)]) == real:
        raise Refused(
            f"{quoted(directory)} holds the staging directory {staging} itself",
            hint="Upload one directory of it.",
        )


_File = tuple[str, os.stat_result]
"""A path below the source, and what the file was when it was listed."""


def _prepare(source: str, target: str, ignore_dot: bool) -> Iterator[_File]:
    """Make the directories and symlinks of ``source`` in ``target``; tell the files."""
    real_source = os.path.realpath(source)
    pending = [""]
    while pending:
        relative = pending.pop()
        with os.scandir(f"{source}/{relative}") as entries:
            for entry in entries:
                if is_internal(entry.name) or (ignore_dot and entry.name.startswith(".")):
                    continue
                path = f"{relative}/{entry.name}" if relative else entry.name
                copy = f"{target}/{path}"
                if entry.is_symlink():
                    link = os.readlink(entry.path)
                    os.symlink(_moved_link(link, relative, real_source), copy)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(copy)
                    pending.append(path)
                else:
                    yield path, _status(entry)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise Refused(
            f"{quoted(entry.path)} is neither a file, nor a directory, nor a symbolic link",
            hint="Remove it, or upload another directory.",
        )
    return status


def _moved_link(link: str, directory: str, source: str) -> str:
    """What the symlink ``link`` in ``directory`` of ``source`` must say in a copy of it.

    The copy means the same file: a link within the source is relative, so that it leads
    into the copy, and one that leaves it is absolute.
    """
    here = os.path.join(source, directory)
    meant = os.path.normpath(os.path.join(here, link))
    inside = meant.startswith(source + os.sep)
    if inside:
        return os.path.relpath(meant, here) if os.path.isabs(link) else link
    return link if os.path.isabs(link) else meant
