"""Copying files within a registry, and verifying each while it is copied."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gobbler.errors import Code, Fault, quoted
from gobbler.fs import access
from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.hash import copy_and_hash
from gobbler.fs.open import READ, closing, open_beneath, open_directory
from gobbler.fs.os_errors import MISTAKES, fault_at, raising_fault
from gobbler.model.progress import CancelCheck, Progress
from gobbler.rules.links import InWhitelist, Places, absolute_target, locate
from gobbler.transfer.batch import BatchProgress
from gobbler.transfer.dispatch import Dispatcher, FileWork, make_files, weigh
from gobbler.transfer.run_directory import RunDirectory, RunResult, run_directory


class Duplicate(NamedTuple):
    """A file to copy, with the size in bytes and the MD5 that it must have."""

    source: str
    size: int
    md5sum: str


@dataclass(frozen=True)
class DuplicateBatch:
    """Files to copy, by the name that each gets in the directory ``top``.

    The batch ends when the path ``workspace`` is gone. A link into a directory of ``whitelist``
    stands for the file that it leads to. ``run_directories_path``: see
    :mod:`gobbler.transfer.batch`.
    """

    workspace: str
    top: str
    files: dict[str, Duplicate]
    whitelist: tuple[str, ...]
    run_directories_path: str


class Unusable(NamedTuple):
    """A file that can't be copied: the path, and what is wrong with it."""

    source: str
    problem: str


def run_duplicate_batch(batch: DuplicateBatch, progress: Progress) -> list[Unusable]:
    """Copy the files of a batch; returns those that can't be read, or have another content."""
    return _run(batch, None, BatchProgress(batch.workspace, progress))


def run_duplicate_batch_in_run_directory(
    batch: DuplicateBatch, progress: Progress
) -> tuple[list[Unusable], RunResult]:
    """Copy the files of a batch into a run directory."""
    with run_directory(batch.run_directories_path, flush=True) as own:
        wrong = _run(batch, own, BatchProgress(own.path, progress))
    return wrong, own.result()


def _run(
    batch: DuplicateBatch, own: RunDirectory | None, progress: BatchProgress
) -> list[Unusable]:
    wrong = []
    for target, wanted in batch.files.items():
        progress.check()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        parent, name = (None, f"{batch.top}/{target}") if own is None else own.place(target)
        try:
            opened = _open(wanted.source, batch.whitelist)
        except OSError as error:
            if error.errno not in MISTAKES:
                raise fault_at(error, "read", wanted.source) from error
            wrong.append(Unusable(wanted.source, f"it can't be read: {error.strerror}"))
            continue
        with (
            closing(opened) as source,
            closing(os.open(name, flags, FILE_MODE, dir_fd=parent)) as copy,
        ):
            if own is not None:
                os.fchmod(copy, FILE_MODE)  # another host has another umask
            with raising_fault("copy", wanted.source):
                found = copy_and_hash(source, copy, wanted.size, progress)
            if found != (wanted.size, wanted.md5sum):
                wrong.append(Unusable(wanted.source, "its content is not what its manifest lists"))
    return wrong


def _open(path: str, whitelist: tuple[str, ...]) -> int:
    try:
        return os.open(path, READ)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    text = os.readlink(path)
    places = Places(source=(), registry=(), whitelist=whitelist)
    target = locate(absolute_target(os.path.dirname(path), text), places)
    if not isinstance(target, InWhitelist):
        raise Fault(
            f"{quoted(path)} can't be copied: it links to {quoted(text)}, which is in no "
            "whitelisted directory",
            code=Code.DAMAGED_LINKS,
            hint="Whitelist that directory, or validate the version.",
        )
    with closing(open_directory(target.root)) as root:
        found = open_beneath(root, target.path, os.O_RDONLY | os.O_NONBLOCK, access.enterable)
        try:
            # The copy is for everybody; since the upload, the file may have become private.
            access.check_everybody(found, access.READ)
        except BaseException:
            os.close(found)
            raise
        return found


def duplicate_here(
    dispatcher: Dispatcher, files: dict[str, Duplicate], whitelist: tuple[str, ...]
) -> Iterator[Unusable]:
    """Like :func:`duplicate_all`, in this thread, whatever the executor does meanwhile."""
    workspace = dispatcher.workspace
    batch = DuplicateBatch(workspace.tree, workspace.path, files, whitelist, "")
    yield from run_duplicate_batch(batch, CancelCheck(dispatcher))


def duplicate_all(
    dispatcher: Dispatcher,
    files: dict[str, Duplicate],
    whitelist: tuple[str, ...],
) -> Iterator[Unusable]:
    """Copy ``files`` (by their names in the workspace); yields what can't be copied."""
    workspace = dispatcher.workspace
    sizes = {target: wanted.size for target, wanted in files.items()}

    def batches(run_directories_path: str) -> Iterator[DuplicateBatch]:
        for part in dispatcher.cut(sizes):
            chosen = {target: files[target] for target in part}
            yield DuplicateBatch(
                workspace.tree, workspace.path, chosen, whitelist, run_directories_path
            )

    work = FileWork(
        run_duplicate_batch,
        run_duplicate_batch_in_run_directory,
        batches,
        workspace.path,
        weigh(sizes),
    )
    yield from make_files(dispatcher, work)
