"""Discarded trees: directories of many files that nobody sees any more, and that are to be removed.

::

    ..incoming/
        {unique}.discarded                      of a change that was given up
        {unique}-{project}-{bytes}.discarded    of a removal: a digest of the project, and a size
                                                in hexadecimal digits

To remove ten thousand files takes longer than the removal of a version itself, which is a rename.
So a workspace that has many files at its end gets such a name, and the request is answered. The
files go later, see :mod:`gobbler.registry.remover`.

A discarded tree has no lease, and nobody works in it: any process may remove it, or a part of it,
and several may do so at the same time.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from gobbler.fs.removal import remove_tree, remove_tree_quietly
from gobbler.fs.reserve import is_drawn_on
from gobbler.fs.space import fits, is_short
from gobbler.model.names import INCOMING
from gobbler.registry.unique_name import unique_name

DISCARDED_SUFFIX = ".discarded"

FEW_ENTRIES = 64
"""Number of files and directories up to which a tree is removed at once."""


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
        parts = name.removesuffix(DISCARDED_SUFFIX).split("-")
        try:
            return cls(name, parts[2], int(parts[3], 16))
        except (IndexError, ValueError):
            return cls(name, "", 0)


def discard(path: str, freed: Freed | None = None) -> None:
    """Remove the directory ``path`` below ``..incoming``, which no other process uses.

    A tree of many files gets a name by which it is removed later; but at once where space is
    short: then somebody waits for it. Raises ``OSError``: ``FileNotFoundError`` if there is no
    such directory.
    """
    incoming = path[: path.rindex(f"/{INCOMING}/")] + f"/{INCOMING}"
    if not _has_many(path) or is_drawn_on() or is_short(incoming):
        remove_tree(path)
        return
    name = unique_name()
    if freed is not None:
        name += f"-{_digest(freed.project)}-{freed.size:x}"
    try:
        os.rename(path, f"{incoming}/{name}{DISCARDED_SUFFIX}")
    except FileNotFoundError:
        raise
    except OSError:  # a full disk, perhaps
        remove_tree(path)


def _has_many(path: str) -> bool:
    """Whether there are more than :data:`FEW_ENTRIES` below ``path``."""
    directories, count = [path], 0
    for directory in directories:  # which grows meanwhile
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                if count > FEW_ENTRIES:
                    return True
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
    return False


def is_discarded(name: str) -> bool:
    """Whether ``name``, in ``..incoming``, is that of a discarded tree."""
    return name.endswith(DISCARDED_SUFFIX)


def discarded_trees(registry: str) -> list[DiscardedTree]:
    """The trees that are still to be removed, oldest first."""
    names = os.listdir(f"{registry}/{INCOMING}")
    return [DiscardedTree.called(name) for name in sorted(filter(is_discarded, names))]


def make_room(registry: str, needed: int) -> None:
    """Remove discarded trees until ``needed`` bytes fit on the disk, or none is left."""
    for tree in discarded_trees(registry):
        if fits(registry, needed):
            return
        remove_tree_quietly(f"{registry}/{INCOMING}/{tree.name}")


def remove_discarded(registry: str) -> None:
    """Remove all discarded trees, as far as possible."""
    for tree in discarded_trees(registry):
        remove_tree_quietly(f"{registry}/{INCOMING}/{tree.name}")


def size_of_discarded(registry: str, project: str) -> int:
    """The bytes of a project that were removed and may still take space on the disk."""
    digest = _digest(project)
    return sum(tree.size for tree in discarded_trees(registry) if tree.project == digest)


def _digest(project: str) -> str:
    return hashlib.blake2b(project.encode(), digest_size=8).hexdigest()
