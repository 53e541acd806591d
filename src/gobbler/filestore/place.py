"""From one directory to another of the same store: refusing to replace, surviving a power cut."""

from __future__ import annotations

import os

from gobbler.fs.flush import Durability, flush_directory
from gobbler.fs.open import READ
from gobbler.fs.os_errors import with_path
from gobbler.fs.rename import NoReplaceUnsupported, rename_new


def place(source: str, target: str, *, replace: bool, may_link: bool) -> None:
    """Rename ``source`` to ``target``, which must not be there unless it may ``replace`` it.

    Where the filesystem can't rename so, and with ``may_link``, the file is linked to its
    new name and then unlinked from its old one. For that nobody else may move ``source``:
    two might succeed. Killed between the two, the file keeps both names.
    """
    if replace:
        os.rename(source, target)
        return
    try:
        rename_new(source, target)
    except NoReplaceUnsupported:
        if not may_link:
            raise
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)


def flush_file(path: str) -> None:
    """Have the content of a file on disk. Follows no link, waits for no FIFO."""
    descriptor = os.open(path, READ)
    try:
        with with_path(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_directories(source: str, target: str) -> None:
    """Have a rename on disk: first the new name, so that the file has one at any time."""
    for path in (target, source):
        flush_directory(os.path.dirname(path), Durability.FULL)
