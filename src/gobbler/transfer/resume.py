"""Resuming an upload: files that an earlier attempt has copied are not copied again.

::

    ..incoming/{attempt}/
        tree/       copies, some of them perhaps incomplete
        taken       a line for each complete copy: its state, and that of its source file
        former-{random}/
            tree/, taken    those of an earlier attempt

The process of the earlier attempt may still live: it may only have been taken for dead. It can have
directories of its tree open, so none of them is used again. The listed copies, which it has closed,
are renamed one by one into the new tree, where it can't find them. A large copy that it has only
begun is taken if it is known to have ended: see :mod:`gobbler.transfer.piece_record`.

The list is a hint: it is not flushed, and after a power cut a copy may be on disk in part. What is
used without being read again is decided in :mod:`gobbler.rules.resumption`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from gobbler.fs.atomic_write import (
    DIRECTORY_MODE,
    PRIVATE_FILE_MODE,
    remove_quietly,
    write_all,
    write_new,
)
from gobbler.fs.open import closing
from gobbler.fs.removal import remove_tree
from gobbler.model.names import is_internal
from gobbler.registry.workspace import Workspace
from gobbler.rules.resumption import LeftCopy
from gobbler.transfer.batch import EarlierCopy, IngestedFile
from gobbler.transfer.piece_record import PartialCopy, partial_copies, remove_partial

TAKEN = "taken"

Note = Callable[[IngestedFile], None]


class Earlier(NamedTuple):
    """The copies of earlier attempts, by path: ``complete`` ones in the tree, and ``partial`` ones.

    Both may turn out to be of no use.
    """

    complete: dict[str, EarlierCopy]
    partial: dict[str, PartialCopy]


def resume(workspace: Workspace, directories: list[str], files: dict[str, int]) -> Earlier:
    """Take the copies of earlier attempts.

    ``directories`` and ``files`` (sizes in bytes by path) are those of the present source. Makes
    the tree with all ``directories``, and removes the workspaces of earlier attempts.
    """
    os.mkdir(workspace.tree, DIRECTORY_MODE)
    for directory in directories:
        os.mkdir(f"{workspace.tree}/{directory}", DIRECTORY_MODE)
    if not workspace.formers:
        return Earlier({}, {})
    listed: dict[str, IngestedFile] = {}
    for former in workspace.formers:
        listed |= _listed(former)
    trees = [tree for former in workspace.formers for tree in _trees(former)]
    complete = {}
    for path, ingested in listed.items():
        if files.get(path) == ingested.size:
            for tree in trees:
                status = _take(f"{tree}/{path}", f"{workspace.tree}/{path}")
                if status is not None:
                    complete[path] = EarlierCopy(ingested, _known(ingested, status))
                    break
    lines = (_line(copy.ingested) for copy in complete.values())
    write_new(f"{workspace.path}/{TAKEN}", b"".join(lines))
    begun = {path: size for path, size in files.items() if path not in complete}
    partial = partial_copies(workspace.path, workspace.formers, begun)
    while workspace.formers:
        with suppress(OSError):  # its process may still write there; it goes with the workspace
            remove_tree(workspace.formers.pop())
    return Earlier(complete, partial)


def _known(ingested: IngestedFile, status: os.stat_result) -> LeftCopy:
    """What is known of a listed copy that has this ``status`` now."""
    copy = ingested.copy
    now = (status.st_ino, status.st_size, status.st_mtime_ns)
    return LeftCopy(
        is_closed=True,
        is_complete=True,
        is_safe=copy is not None and copy.is_safe(),
        is_untouched=copy is not None and now == (copy.inode, ingested.size, copy.mtime_ns),
    )


def _trees(former: str) -> list[str]:
    """Where the tree of an earlier attempt may stand: also where a failed publication puts it."""
    trees = [f"{former}/tree"]
    with suppress(FileNotFoundError):
        trees += [
            f"{former}/asset/{n}" for n in os.listdir(f"{former}/asset") if not is_internal(n)
        ]
    return trees


def _take(path: str, target: str) -> os.stat_result | None:
    """Rename the regular file ``path`` to ``target``; its status, or ``None`` if there is none."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        os.rename(path, target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status


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


def remove_rest(earlier: Earlier) -> None:
    """Remove the partial copies that were of no use."""
    for copy in earlier.partial.values():
        remove_partial(copy)


def _forget(ingested: IngestedFile) -> None:
    del ingested


@contextmanager
def resume_notes(workspace: Workspace, earlier: Earlier) -> Iterator[Note]:
    """Within the block, list the copies of a resumable workspace for the next attempt.

    Those of ``earlier`` that have not changed are listed already.
    """
    if not workspace.is_resumable:
        yield _forget
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    path = f"{workspace.path}/{TAKEN}"
    with closing(os.open(path, flags, PRIVATE_FILE_MODE)) as lines:

        def note(ingested: IngestedFile) -> None:
            known = earlier.complete.get(ingested.path)
            if ingested.same or (known is not None and known.ingested == ingested):
                return
            # At once: the next file may take hours.
            write_all(lines, _line(ingested))
            if ingested.copy is not None and ingested.copy.record:
                remove_quietly(ingested.copy.record)

        yield note
