"""Access of everybody: the service gives away nothing that only some accounts may read.

The service may read what other accounts may not: as root, by a group, or by an ACL that names it.
Whoever puts such a file into a source, or a link to it, must not get it published. So the service
takes a file that does not belong to the owner of the source only if every account may read it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from gobbler.fs import acl

READ = acl.READ
"""Permission to read a file."""

ENTER = acl.ENTER
"""Permission to open what is in a directory."""

LIST = acl.READ | acl.ENTER
"""Permission to list a directory, and to open what is in it."""

RESTRICTED = "not everybody may read it"


class Restricted(PermissionError):
    """Not every account may read a file, or a directory on the way to it."""

    def __init__(self, problem: str) -> None:
        super().__init__(errno.EACCES, problem)


def everybody_may(opened: int | str, status: os.stat_result, permissions: int) -> bool:
    """Whether every account has ``permissions``, whatever its groups are, and despite any ACL.

    ``opened``: a descriptor of the file, or its path; ``status``: that of the same file.
    """
    # With an ACL, the mode shows its mask instead of the permissions of the group.
    shown = status.st_mode & status.st_mode >> 3
    return shown & permissions == permissions and _acl_grants(opened, permissions)


def _acl_grants(opened: int | str, permissions: int) -> bool:
    try:
        found = acl.read(opened, acl.ACCESS_ACL)
    except (FileNotFoundError, NotADirectoryError):
        return True  # without /proc; whoever opens the file asks again
    except (OSError, ValueError):
        return False
    if found is None:
        return True
    granted = [found.find(acl.GROUP_OBJ), *(entry.permissions for entry in found.named())]
    return all(each & permissions == permissions for each in granted)


def check_everybody(opened: int, permissions: int) -> None:
    """Raise :class:`Restricted` unless everybody has ``permissions`` for an open file."""
    if not everybody_may(opened, os.fstat(opened), permissions):
        raise Restricted(RESTRICTED)


def enterable(directory: int) -> None:
    """Raise :class:`Restricted` unless everybody may open what is in the open ``directory``."""
    check_everybody(directory, ENTER)


def check_foreign(opened: int | str, status: os.stat_result, owner: int, permissions: int) -> None:
    """Check a file that the account ``owner`` (a user ID) gives away.

    Raises :class:`Restricted` if it belongs to another account, and not everybody has
    ``permissions`` for it.
    """
    if status.st_uid != owner and not everybody_may(opened, status, permissions):
        raise Restricted(f"belongs to another user, and {RESTRICTED}")


def foreign_directories(owner: int) -> Callable[[int], None]:
    """:func:`check_foreign` for open directories that are listed for ``owner``."""

    def check(directory: int) -> None:
        check_foreign(directory, os.fstat(directory), owner, LIST)

    return check
