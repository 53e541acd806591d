"""``consume``: remove the files of the source once the version is published, never before."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

from gobbler.errors import GobblerError, quoted
from gobbler.fs.atomic_write import FILE_MODE, remove_quietly, write_all
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.open import DIRECTORY, Beneath, closing, enter_directory
from gobbler.registry.workspace import Workspace

logger = logging.getLogger(__name__)

COPY = "..copy"
"""Name of an unfinished copy, beside the file that it is to replace."""

_CHUNK = 1 << 20


def consume_source(
    version: str,
    workspace: Workspace,
    name: str,
    opened: AbstractContextManager[int],
    fingerprints: Mapping[str, Fingerprint],
    *,
    adopted: Iterable[str],
) -> None:
    """Remove the files of a source that was published as the version at the path ``version``.

    ``opened`` is its directory, called ``name``; ``adopted``: the published files that were
    hard-linked from it. Recovery separates the files that can't be separated now.
    """
    remove_sources(name, opened, fingerprints)
    detach_or_keep(version, workspace, adopted)


def detach_or_keep(version: str, workspace: Workspace, adopted: Iterable[str]) -> None:
    """Do :func:`detach_files`; recovery does what can't be done now."""
    try:
        detach_files(version, adopted)
    except OSError:
        logger.exception("could not separate %s from its source", quoted(version))
        workspace.keep = True


def remove_sources(
    name: str, opened: AbstractContextManager[int], fingerprints: Mapping[str, Fingerprint]
) -> None:
    """Remove the ingested files from the source ``name``, unless they have changed since.

    Leaves directories, and files that can't be removed: the version is published, and the source
    belongs to the user. Leaves directories of other users as they are: the owner of the source
    might not be allowed to remove files there.
    """
    kept = 0
    try:
        with opened as directory, contextlib.closing(_of_its_owner(directory)) as beneath:
            kept = sum(
                not _remove(beneath, path, fingerprint)
                for path, fingerprint in fingerprints.items()
            )
    except (OSError, GobblerError) as error:
        logger.warning("could not remove the files of the source %s: %s", quoted(name), error)
    if kept:
        # Usual where the service is not root; the client removes what is its user's.
        logger.debug("left %d files of the source %s for their owner", kept, quoted(name))


def _of_its_owner(source: int) -> Beneath:
    """The directories of the open ``source`` that belong to its owner."""
    owner = os.fstat(source).st_uid

    def check(directory: int) -> None:
        if os.fstat(directory).st_uid != owner:
            raise PermissionError(errno.EPERM, "it belongs to another user")

    return Beneath(source, check)


def _remove(source: Beneath, path: str, fingerprint: Fingerprint) -> bool:
    parent, _, name = path.rpartition("/")
    try:
        directory = source.enter(parent)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if Fingerprint.of(status) == fingerprint:
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def detach_files(version: str, paths: Iterable[str]) -> None:
    """Give the published files no name outside of the registry.

    A file that still has its name in the source, by a hard link, is replaced by a copy of itself,
    so that nobody can change it by the other name.
    """
    for path in paths:
        published = f"{version}/{path}"
        if os.lstat(published).st_nlink > 1:
            _replace_by_copy(published)


def _replace_by_copy(path: str) -> None:
    copy = f"{os.path.dirname(path)}/{COPY}"
    try:
        with open(path, "rb") as source:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with closing(os.open(copy, flags, FILE_MODE)) as target:
                while part := source.read(_CHUNK):
                    write_all(target, part)
                os.fsync(target)
        os.rename(copy, path)
    except BaseException:
        remove_quietly(copy)
        raise


def resume_consume(staging: str, source: str, version: str, paths: list[str]) -> None:
    """After a crash, remove the names in ``source`` whose files are hard-linked into a version."""
    try:
        with (
            closing(enter_directory(staging)) as parent,
            closing(os.open(source, DIRECTORY, dir_fd=parent)) as directory,
            contextlib.closing(_of_its_owner(directory)) as beneath,
        ):
            for path in paths:
                status = os.lstat(f"{version}/{path}")
                if status.st_nlink > 1:
                    _remove(beneath, path, Fingerprint.of(status))
    except OSError as error:
        logger.warning("could not remove the files of the source %s: %s", quoted(source), error)
    detach_files(version, paths)
    for directory_path in {os.path.dirname(path) for path in paths}:
        # A crash in the midst of a copy leaves it, even if the file needs no copy any more.
        remove_quietly(f"{version}/{directory_path}/{COPY}")
