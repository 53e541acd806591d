"""Resuming an upload: files that an earlier attempt has copied are not copied again.

::

    ..incoming/{workspace}/
        tree/       copies, some of them perhaps incomplete
        taken       a line for each complete copy, with the fingerprint of its source file

The list is a hint: it is not flushed, and after a power cut a copy may be on disk in part. So each
listed copy is hashed again before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from gobbler.fs.atomic_write import PRIVATE_FILE_MODE, write_all
from gobbler.fs.open import closing, exists
from gobbler.fs.removal import remove_tree
from gobbler.model.names import is_internal
from gobbler.registry.workspace import Workspace
from gobbler.transfer.batch import IngestedFile

TAKEN = "taken"

Note = Callable[[IngestedFile], None]


def resume(
    workspace: Workspace, directories: list[str], files: dict[str, int]
) -> dict[str, IngestedFile]:
    """The copies of an earlier attempt that may be complete, by path; removes everything else.

    ``directories`` and ``files`` (sizes in bytes by path) are those of the present source.
    """
    if not workspace.is_resumable:
        return {}
    _restore_tree(workspace)
    earlier = {
        path: ingested
        for path, ingested in _listed(workspace).items()
        if files.get(path) == ingested.size
    }
    for name in os.listdir(workspace.path):
        if f"{workspace.path}/{name}" not in (workspace.tree, f"{workspace.path}/{TAKEN}"):
            _remove(f"{workspace.path}/{name}")
    if exists(workspace.tree):
        _prune(workspace.tree, "", set(directories), set(earlier))
    return earlier


def _restore_tree(workspace: Workspace) -> None:
    """Move the tree back from where a publication that failed had put it."""
    asset = f"{workspace.path}/asset"
    if exists(asset) and not exists(workspace.tree):
        for name in os.listdir(asset):
            if not is_internal(name):
                os.rename(f"{asset}/{name}", workspace.tree)


def _listed(workspace: Workspace) -> dict[str, IngestedFile]:
    listed = {}
    with suppress(FileNotFoundError), open(f"{workspace.path}/{TAKEN}", "rb") as lines:
        for line in lines:
            with suppress(msgspec.DecodeError):  # the last line may be incomplete
                ingested = msgspec.json.decode(line, type=IngestedFile)
                listed[ingested.path] = ingested
    return listed


def _prune(tree: str, inner: str, directories: set[str], files: set[str]) -> None:
    with os.scandir(f"{tree}/{inner}" if inner else tree) as entries:
        found = list(entries)
    for entry in found:
        path = f"{inner}/{entry.name}" if inner else entry.name
        if entry.is_dir(follow_symlinks=False) and path in directories:
            _prune(tree, path, directories, files)
        elif not entry.is_file(follow_symlinks=False) or path not in files:
            _remove(entry.path)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)  # a batch of the earlier attempt may still run on another host
    else:
        os.unlink(path)


def _forget(ingested: IngestedFile) -> None:
    del ingested


@contextmanager
def resume_notes(workspace: Workspace) -> Iterator[Note]:
    """Within the block, list the copies of a resumable workspace for the next attempt."""
    if not workspace.is_resumable:
        yield _forget
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    path = f"{workspace.path}/{TAKEN}"
    with closing(os.open(path, flags, PRIVATE_FILE_MODE)) as lines:

        def note(ingested: IngestedFile) -> None:
            # At once: the next file may take hours.
            if not ingested.same:
                write_all(lines, msgspec.json.encode(ingested) + b"\n")

        # An incomplete line must not damage the next one.
        write_all(lines, b"\n")
        yield note
