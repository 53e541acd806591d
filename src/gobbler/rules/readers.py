"""Readers: who may read a version, by the modes of the directories that it is in.

An administrator may close a project to others by the mode of its directory. A link from another
project must not tell them size, checksum and name of what is in it.
"""

from __future__ import annotations

import stat
from typing import NamedTuple


class Readers(NamedTuple):
    """Accounts that may enter some directories: ``others``, or members of each of ``groups``.

    ``group``: whether members of the groups may enter.
    """

    others: bool = True
    group: bool = True
    groups: frozenset[int] = frozenset()

    def within(self, mode: int, gid: int) -> Readers:
        """Those of them who may also enter a directory of that mode and group."""
        if mode & stat.S_IXOTH and mode & stat.S_IXGRP:
            return self
        return Readers(False, self.group and bool(mode & stat.S_IXGRP), self.groups | {gid})

    def include(self, readers: Readers) -> bool:
        """Whether all of ``readers`` are among them."""
        if self.others:
            return True
        if readers.others:
            return False
        return not readers.group or (self.group and self.groups <= readers.groups)
