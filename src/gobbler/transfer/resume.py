"""Resuming an upload: files that an earlier attempt has copied are not copied again.

::

    ..incoming/{attempt}/
        tree/       copies, some of them perhaps incomplete
        taken       a line for each complete copy, with the fingerprint of its source file
        former-{random}/
            tree/, taken    those of an earlier attempt

The process of the earlier attempt may still live: it may only have been taken for dead. It can have
directories of its tree open, so none of them is used again. The listed copies, which it has closed,
are renamed one by one into the new tree, where it can't find them.

The list is a hint: it is not flushed, and after a power cut a copy may be on disk in part. So each
of these copies is hashed again, in its new place, before it is used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from gobbler.fs.atomic_write import DIRECTORY_MODE, PRIVATE_FILE_MODE, write_all, write_new
from gobbler.fs.open import closing
from gobbler.fs.removal import remove_tree
from gobbler.model.names import is_internal
from gobbler.registry.workspace import Workspace
from gobbler.transfer.batch import IngestedFile

TAKEN = "taken"

Note = Callable[[IngestedFile], None]


def resume(
    workspace: Workspace, directories: list[str], files: dict[str, int]
) -> dict[str, IngestedFile]:
    """The copies of earlier attempts that may be complete, by path, now in the tree.

    ``directories`` and ``files`` (sizes in bytes by path) are those of the present source. Makes
    the tree with all ``directories``, and removes the workspaces of earlier attempts.
    """
    os.mkdir(workspace.tree, DIRECTORY_MODE)
    for directory in directories:
        os.mkdir(f"{workspace.tree}/{directory}", DIRECTORY_MODE)
    if not workspace.formers:
        return {}
    listed: dict[str, IngestedFile] = {}
    for former in workspace.formers:
        listed |= _listed(former)
    trees = [tree for former in workspace.formers for tree in _trees(former)]
    earlier = {
        path: ingested
        for path, ingested in listed.items()
        if files.get(path) == ingested.size
        and any(_take(f"{tree}/{path}", f"{workspace.tree}/{path}") for tree in trees)
    }
    write_new(f"{workspace.path}/{TAKEN}", b"".join(map(_line, earlier.values())))
    while workspace.formers:
        with suppress(OSError):  # its process may still write there; it goes with the workspace
            remove_tree(workspace.formers.pop())
    return earlier


def _trees(former: str) -> list[str]:
    """Where the tree of an earlier attempt may stand: also where a failed publication puts it."""
    trees = [f"{former}/tree"]
    with suppress(FileNotFoundError):
        trees += [
            f"{former}/asset/{n}" for n in os.listdir(f"{former}/asset") if not is_internal(n)
        ]
    return trees


def _take(path: str, target: str) -> bool:
    """Rename the regular file ``path`` to ``target``; whether there is one."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        os.rename(path, target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _listed(former: str) -> dict[str, IngestedFile]:
    listed = {}
    with suppress(FileNotFoundError), open(f"{former}/{TAKEN}", "rb") as lines:
        for line in lines:
            with suppress(msgspec.DecodeError):  # the last line may be incomplete
                ingested = msgspec.json.decode(line, type=IngestedFile)
                listed[ingested.path] = ingested
    return listed


def _line(ingested: IngestedFile) -> bytes:
    return msgspec.json.encode(ingested) + b"\n"


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
                write_all(lines, _line(ingested))

        yield note
