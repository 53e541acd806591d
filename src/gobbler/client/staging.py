"""Staging: use a directory where it is, or copy it to where the service can read it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from gobbler.client import staged_copies
from gobbler.client.checksums import Checksums
from gobbler.client.errors import NotThere
from gobbler.client.preflight import Preflight, Taken, tell_what_is_not_kept, tell_what_is_taken
from gobbler.client.source_links import Follower
from gobbler.client.staged_tree import StagedTree
from gobbler.client.staging_directory import FULL_HINT, StagingDirectory
from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.fs.os_errors import fault_at
from gobbler.fs.removal import remove_tree_quietly
from gobbler.fs.space import check_space
from gobbler.model.progress import CancelToken, NeverCancelled, Progress
from gobbler.rules.upload_plan import Scan, check_scan
from gobbler.transfer.scan import LONGEST_PATH, longest_path, scan_source

UPLOAD_PREFIX = "upload-"
"""Begin of the names of copies in staging; 20 digits follow."""


def allocate_upload_directory(staging: StagingDirectory, *, create: bool = True) -> str:
    """Return a path in ``staging`` that nothing else has.

    With ``create`` the directory is made: everybody can read it, and nobody else can write it,
    whatever the umask says. Raises what :meth:`StagingDirectory.made_directory` raises.
    """
    while True:
        name = f"{UPLOAD_PREFIX}{secrets.token_hex(10)}"
        path = os.path.join(staging.path, name)
        if os.path.lexists(path):
            continue
        if create:
            with staging.made_directory(name):
                pass
        return path


class Staged(NamedTuple):
    """A directory in staging: its bare name, and its path if it is a copy of ours."""

    name: str
    copy: str | None

    @property
    def is_copy(self) -> bool:
        """Whether it was copied there for this upload."""
        return self.copy is not None

    def remove(self) -> None:
        """Remove what is left of a copy; the service may have consumed most of it."""
        if self.copy is not None:
            remove_tree_quietly(self.copy)
            if not os.path.lexists(self.copy):
                staged_copies.forget(self.copy)


@contextlib.contextmanager
def staged(
    directory: str,
    staging: StagingDirectory,
    *,
    ignore_dot: bool,
    follow: Follower | None = None,
    preflight: Preflight | None = None,
    longest: int = LONGEST_PATH,
    capacity: int | None = None,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Iterator[Staged]:
    """:func:`stage` a directory; a copy is removed at the end of the block."""
    source, found = _planned(
        directory,
        staging,
        ignore_dot=ignore_dot,
        follow=follow,
        preflight=preflight,
        longest=longest,
        capacity=capacity,
    )
    try:  # Ctrl-C may come at the moment the copy is made, or complete
        if found is not None:
            _fill(directory, staging, source, found, concurrent, progress, checksums)
        yield source
    finally:
        source.remove()


def stage(
    directory: str,
    staging: StagingDirectory,
    *,
    ignore_dot: bool,
    follow: Follower | None = None,
    preflight: Preflight | None = None,
    longest: int = LONGEST_PATH,
    capacity: int | None = None,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None = None,
) -> Staged:
    """Return ``directory`` itself if it is directly in ``staging``, else a copy of it.

    Leaves out names that the service ignores, and warns of them: internal ones, and with
    ``ignore_dot`` those that start with a dot. Refuses what the service would refuse, before it
    copies anything. With ``follow``, links that leave the directory are followed: then it is always
    copied. ``preflight`` asks whether the upload is allowed. ``concurrent`` files are copied at a
    time. ``checksums`` receives the checksums of the copies. ``longest``: bytes of the longest
    path; ``capacity``: bytes of the filesystem of the registry.
    """
    source, found = _planned(
        directory,
        staging,
        ignore_dot=ignore_dot,
        follow=follow,
        preflight=preflight,
        longest=longest,
        capacity=capacity,
    )
    try:
        if found is not None:
            _fill(directory, staging, source, found, concurrent, progress, checksums)
    except BaseException:
        source.remove()
        raise
    return source


def _planned(
    directory: str,
    staging: StagingDirectory,
    *,
    ignore_dot: bool,
    follow: Follower | None,
    preflight: Preflight | None,
    longest: int,
    capacity: int | None,
) -> tuple[Staged, Scan | None]:
    """Where the source will stand, and what to copy there; ``None`` if it stands there already."""
    directory = os.path.abspath(directory)
    check_source(directory, staging.path)
    if is_in_staging(directory, staging.path) and follow is None:
        tell_what_is_taken(directory, Taken.of_directory(directory, ignore_dot=ignore_dot))
        return Staged(os.path.basename(directory), None), None
    found = scan_for_upload(
        directory,
        staging.path,
        ignore_dot=ignore_dot,
        follow=follow,
        cancel=preflight,
        longest=longest,
    )
    if preflight is not None:
        preflight.before_copy(found)
    check_scan(found, capacity=capacity)
    tell_what_is_not_kept(found)
    tell_what_is_taken(directory, Taken.of_scan(found))
    copy = allocate_upload_directory(staging, create=False)
    return Staged(os.path.basename(copy), copy), found


def _fill(
    directory: str,
    staging: StagingDirectory,
    source: Staged,
    found: Scan,
    concurrent: int,
    progress: Progress,
    checksums: Checksums | None,
) -> None:
    directory, copy = os.path.abspath(directory), str(source.copy)
    check_space(staging.path, found.space(found.files), f"a copy of {quoted(directory)}")

    staged_copies.remember(staged_copies.new_copy(os.path.abspath(copy)))
    with staging.made_directory(source.name) as made, _raising_full(staging.path):
        StagedTree(directory, made, found, concurrent, progress, checksums).fill()


@contextlib.contextmanager
def _raising_full(staging: str) -> Iterator[None]:
    """Raise a fault where the filesystem of staging, or the user's share of it, is full."""
    try:
        yield
    except OSError as error:
        if isinstance(error, GobblerError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fault = fault_at(error, "make a copy in", staging)
        fault.hint = FULL_HINT
        raise fault from error


def scan_for_upload(
    directory: str,
    staging: str | None,
    *,
    ignore_dot: bool,
    follow: Follower | None = None,
    cancel: CancelToken | None = None,
    longest: int = LONGEST_PATH,
) -> Scan:
    """Scan an absolute ``directory`` as the service does when it publishes it.

    In staging, hard links to files of other users can't be published: their owner might not
    allow the user to read them. A copy is the user's own. With ``follow``, a directory in staging
    is copied, too. ``longest``: the length in bytes of the longest path that the version may have.
    """
    if staging is not None:
        longest = min(longest, longest_path(directory, f"{staging}/{UPLOAD_PREFIX}{'-' * 20}"))
    if follow is not None:
        return follow(directory, longest)
    in_place = staging is not None and is_in_staging(directory, staging)
    owner = os.stat(directory).st_uid if in_place else None
    return scan_source(
        directory,
        ignore_dot=ignore_dot,
        owner=owner,
        cancel=cancel or NeverCancelled(),
        longest=longest,
    )


def is_in_staging(directory: str, staging: str) -> bool:
    """Whether the absolute ``directory`` is directly in ``staging``, so that it is not copied."""
    above = os.path.dirname(directory)
    return os.path.realpath(above) == os.path.realpath(staging) and not os.path.islink(directory)


def check_source(directory: str, staging: str | None) -> None:
    """Refuse an absolute ``directory`` that can't be uploaded, regardless of its content."""
    if not os.path.exists(directory):
        raise NotThere(
            f"the directory {quoted(directory)} does not exist",
            directory,
            code=Code.MISSING_SOURCE,
        )
    if not os.path.isdir(directory):
        raise Refused(
            f"{quoted(directory)} is not a directory",
            code=Code.NOT_A_DIRECTORY,
            hint="Upload the directory that it is in.",
        )
    if staging is None:
        return
    real = os.path.realpath(directory)
    if os.path.commonpath([real, os.path.realpath(staging)]) == real:
        raise Refused(
            f"{quoted(directory)} contains the staging directory {staging}",
            code=Code.INVALID_SOURCE,
            hint="Upload one of its directories.",
        )
