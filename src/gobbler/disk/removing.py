"""Removing directories into which others may still write."""

from __future__ import annotations

import errno
import shutil

ATTEMPTS = 5
"""Rounds of removing. Whoever writes finds its own directory gone after one, mostly."""


def remove_tree(path: str) -> None:
    """Remove a directory and all below it, also what is added meanwhile.

    Raises ``OSError`` if that can't be done.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not left:
                raise
        else:
            return
