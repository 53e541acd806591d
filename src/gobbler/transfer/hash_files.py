"""Hashing files where they are: of published versions and of whitelisted directories."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.access import READ, Restricted, check_everybody, enterable
from gobbler.fs.hash import hash_file
from gobbler.fs.open import Beneath, closing, kind_of, open_directory
from gobbler.fs.os_errors import MISTAKES, fault_at
from gobbler.fs.space import has_impossible_holes
from gobbler.model.progress import Progress
from gobbler.model.records import Entry, Manifest
from gobbler.rules.links import InWhitelist
from gobbler.rules.upload_plan import Plan
from gobbler.transfer.batch import BatchProgress
from gobbler.transfer.dispatch import Dispatcher, batch_size, cut, dispatch, is_light


@dataclass(frozen=True)
class HashBatch:
    """Files below the directory ``root`` to be hashed, following no link below it.

    ``files``: for each path to report, the path below the root. The batch ends when the path
    ``workspace`` is gone. If ``public``, a file that not everybody may read can't be read.
    """

    workspace: str
    root: str
    files: dict[str, str]
    public: bool = False


class Hashed(NamedTuple):
    """The size in bytes and MD5 of a file, or the ``problem`` with it.

    ``failed``: the filesystem caused the problem, not a user.
    """

    path: str
    size: int
    md5sum: str
    problem: str
    failed: bool = False


HOLES = "has holes, and more bytes than its filesystem"


def run_hash_batch(batch: HashBatch, progress: Progress) -> list[Hashed]:
    """Hash the files of a batch. Files that can't be read are reported, not raised."""
    reported = BatchProgress(batch.workspace, progress)
    try:
        directory = open_directory(batch.root)
    except OSError as error:
        # A whitelisted directory may be on a filesystem that is not mounted now.
        return [_unreadable(error, path, batch.root) for path in batch.files]
    with closing(directory) as root:
        beneath = Beneath(root, enterable if batch.public else None)
        try:
            found = []
            for path, inner in batch.files.items():
                found.append(_hash(beneath, inner, path, reported, public=batch.public))
                reported.end_file(found[-1].size)
            return found
        finally:
            beneath.close()


def _hash(root: Beneath, inner: str, path: str, progress: BatchProgress, *, public: bool) -> Hashed:
    progress.check()
    try:
        with closing(root.open(inner, os.O_RDONLY | os.O_NONBLOCK)) as opened:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                return Hashed(path, 0, "", f"is {kind_of(status.st_mode)}, not a regular file")
            if public:
                check_everybody(opened, READ)
            if public and has_impossible_holes(opened, status):
                return Hashed(path, 0, "", HOLES)
            size, md5sum = hash_file(opened, progress, status.st_size)
    except Restricted as error:
        return Hashed(path, 0, "", f"can't be taken: {error.strerror}")
    except OSError as error:
        return _unreadable(error, path, path)
    return Hashed(path, size, md5sum, "")


def _unreadable(error: OSError, path: str, where: str) -> Hashed:
    """Report ``path`` as unreadable; raises errors that are not about this path."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise fault_at(error, "read", where) from error
    failed = error.errno not in MISTAKES
    return Hashed(path, 0, "", f"can't be read: {error.strerror}", failed)


def hash_kept(dispatcher: Dispatcher, plan: Plan) -> Manifest:
    """The entries of the symbolic links that are kept, with their targets hashed.

    The administrator answers for a whitelisted directory; everybody must be able to read what is
    below it, because ``/fetch`` serves it to everybody. Raises :class:`~gobbler.errors.Refused`
    that names a link whose target can't be read, or :class:`~gobbler.errors.Fault` if the
    filesystem failed.
    """
    entries: Manifest = {}
    for hashed in hash_listed(dispatcher, plan.kept, public=True):
        if hashed.problem:
            target = quoted(plan.kept[hashed.path].target)
            reason = (
                f"symbolic link {quoted(hashed.path)} can't be published: "
                f"its target {target} {hashed.problem}"
            )
            if hashed.failed:
                raise Fault(reason, code=Code.IO_ERROR)
            raise Refused(reason, code=Code.INVALID_SOURCE)
        entries[hashed.path] = Entry(hashed.size, hashed.md5sum)
    return entries


def hash_listed(
    dispatcher: Dispatcher, kept: dict[str, InWhitelist], *, public: bool
) -> Iterator[Hashed]:
    """Hash the targets of links into whitelisted directories, following no link below.

    If ``public``, report targets that not everybody may read.
    """
    for root in dict.fromkeys(target.root for target in kept.values()):
        files = {path: target.path for path, target in kept.items() if target.root == root}
        yield from dispatch(
            dispatcher,
            run_hash_batch,
            _hash_batches(dispatcher, root, files, public=public),
            light=False,
        )


def hash_files(dispatcher: Dispatcher, root: str, files: dict[str, int]) -> Iterator[Hashed]:
    """Hash files (sizes in bytes by path) below the directory ``root``, in any order."""
    batches = (
        HashBatch(dispatcher.workspace.tree, root, {p: p for p in part})
        for part in dispatcher.cut(files)
    )
    light = is_light(files)
    dispatcher.progress.expect(len(files), sum(files.values()))
    for hashed in dispatch(dispatcher, run_hash_batch, batches, light=light, is_expected=True):
        dispatcher.progress.advance(1, hashed.size)
        yield hashed


def _hash_batches(
    dispatcher: Dispatcher, root: str, files: dict[str, str], *, public: bool
) -> Iterator[HashBatch]:
    for part in cut(dict.fromkeys(files, 0), batch_size(len(files), dispatcher.width)):
        chosen = {path: files[path] for path in part}
        yield HashBatch(dispatcher.workspace.tree, root, chosen, public)
