"""Discarded trees: directories of many files that nobody sees any more, and that are to be removed.

::

    ..incoming/discarded/
        {unique}                        of a change that was given up
        {unique}-{project}-{bytes}      of a removal: a digest of the project, and a size in hex

To remove ten thousand files takes longer than the removal of a version itself, which is a rename.
So a workspace that has such a tree at its end is renamed to a name here, and the request is
answered. The files go later, see :mod:`gobbler.registry.remover`.

A tree here has no lease, and nobody works in it: any process may remove it, or a part of it, and
several may do so at the same time.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import NamedTuple

from gobbler.fs.atomic_write import PRIVATE_DIRECTORY_MODE
from gobbler.fs.removal import remove_tree, remove_tree_quietly
from gobbler.fs.reserve import is_drawn_on
from gobbler.fs.space import fits, is_short
from gobbler.model.names import INCOMING
from gobbler.registry.unique_name import unique_name

DISCARDED = f"{INCOMING}/discarded"


class Freed(NamedTuple):
    """The space that a removal frees: the project to which it counted, and its bytes."""

    project: str
    size: int


class DiscardedTree(NamedTuple):
    """A tree that is to be removed. ``size``: what it had in bytes, or 0 if that is unknown.

    ``project`` is a digest, or empty.
    """

    name: str
    project: str
    size: int

    @classmethod
    def called(cls, name: str) -> DiscardedTree:
        """The tree with this name."""
        parts = name.split("-")
        try:
            return cls(name, parts[2], int(parts[3], 16))
        except (IndexError, ValueError):
            return cls(name, "", 0)


def directory_of(registry: str) -> str:
    """The directory of the discarded trees of the ``registry``; it may be missing."""
    return f"{registry}/{DISCARDED}"


def discard(path: str, freed: Freed | None = None) -> None:
    """Remove the directory ``path`` below ``..incoming``, which no other process uses.

    Files right in it are removed at once. If it has directories, all of it is set aside, and
    removed later; but at once where space is short: then somebody waits for it. Raises ``OSError``:
    ``FileNotFoundError`` if there is no such directory.
    """
    registry = path.rpartition(f"/{INCOMING}/")[0]
    with os.scandir(path) as entries:
        found = list(entries)
    if any(entry.is_dir(follow_symlinks=False) for entry in found):
        if is_drawn_on() or is_short(registry) or not _set_aside(registry, path, freed):
            remove_tree(path)
        return
    for entry in found:
        with suppress(FileNotFoundError):
            os.unlink(entry.path)
    os.rmdir(path)


def _set_aside(registry: str, path: str, freed: Freed | None) -> bool:
    """Rename ``path`` to a name among the discarded trees; ``False`` if that can't be done."""
    name = unique_name()
    if freed is not None:
        name += f"-{_digest(freed.project)}-{freed.size:x}"
    target = f"{directory_of(registry)}/{name}"
    try:
        try:
            os.rename(path, target)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(directory_of(registry), PRIVATE_DIRECTORY_MODE)
            os.rename(path, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def discarded_trees(registry: str) -> list[DiscardedTree]:
    """The trees that are still to be removed, oldest first."""
    try:
        names = os.listdir(directory_of(registry))
    except FileNotFoundError:
        return []
    return [DiscardedTree.called(name) for name in sorted(names)]


def make_room(registry: str, needed: int) -> None:
    """Remove discarded trees until ``needed`` bytes fit on the disk, or none is left."""
    for tree in discarded_trees(registry):
        if fits(registry, needed):
            return
        remove_tree_quietly(f"{directory_of(registry)}/{tree.name}")


def remove_discarded(registry: str) -> None:
    """Remove all discarded trees, as far as possible."""
    for tree in discarded_trees(registry):
        remove_tree_quietly(f"{directory_of(registry)}/{tree.name}")


def size_of_discarded(registry: str, project: str) -> int:
    """The bytes of a project that were removed and may still take space on the disk."""
    digest = _digest(project)
    return sum(tree.size for tree in discarded_trees(registry) if tree.project == digest)


def _digest(project: str) -> str:
    return hashlib.blake2b(project.encode(), digest_size=8).hexdigest()
