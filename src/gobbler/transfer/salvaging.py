"""What an earlier attempt at a task has copied, and need not be copied again.

::

    ..incoming/{task}/
        tree/       copies, some of them perhaps not whole
        taken       a line for each copy that was whole, with the state of its source

The list is a hint and no proof: it is not flushed, and after a power cut a copy may be on
disk in part. So what it lists is hashed again before it is believed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from gobbler.disk.incoming import Job
from gobbler.disk.opening import closing, is_there
from gobbler.disk.removing import remove_tree
from gobbler.disk.writing import PRIVATE_FILE_MODE, write_all
from gobbler.names import is_internal
from gobbler.transfer.batch import Taken

TAKEN = "taken"

Note = Callable[[Taken], None]


def salvage(job: Job, directories: list[str], files: dict[str, int]) -> dict[str, Taken]:
    """The copies of an earlier attempt that may be whole, by path; all else is removed.

    ``directories`` and ``files`` (sizes in bytes by path) are those that are wanted now.
    """
    if not job.task:
        return {}
    _bring_back(job)
    earlier = {path: taken for path, taken in _listed(job).items() if files.get(path) == taken.size}
    for name in os.listdir(job.path):
        if f"{job.path}/{name}" not in (job.tree, f"{job.path}/{TAKEN}"):
            _remove(f"{job.path}/{name}")
    if is_there(job.tree):
        _prune(job.tree, "", set(directories), set(earlier))
    return earlier


def _bring_back(job: Job) -> None:
    """Undo what was arranged for a publication that did not come to pass."""
    asset = f"{job.path}/asset"
    if is_there(asset) and not is_there(job.tree):
        for name in os.listdir(asset):
            if not is_internal(name):
                os.rename(f"{asset}/{name}", job.tree)


def _listed(job: Job) -> dict[str, Taken]:
    listed = {}
    with suppress(FileNotFoundError), open(f"{job.path}/{TAKEN}", "rb") as lines:
        for line in lines:
            with suppress(msgspec.DecodeError):  # the last one may have been cut short
                taken = msgspec.json.decode(line, type=Taken)
                listed[taken.path] = taken
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
        remove_tree(path)  # a batch of the earlier attempt may still be run elsewhere
    else:
        os.unlink(path)


def _forget(taken: Taken) -> None:
    del taken


@contextmanager
def noting(job: Job) -> Iterator[Note]:
    """Within the block, list the copies of a task for whoever goes on with it."""
    if not job.task:
        yield _forget
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    path = f"{job.path}/{TAKEN}"
    with closing(os.open(path, flags, PRIVATE_FILE_MODE)) as lines:

        def note(taken: Taken) -> None:
            # At once: the next one may be hours away.
            if not taken.same:
                write_all(lines, msgspec.json.encode(taken) + b"\n")

        # A line that was cut short must not spoil the next one.
        write_all(lines, b"\n")
        yield note
