"""POSIX access control lists (ACLs): what they grant beyond owner and mode.

The kernel shows an ACL in an extended attribute: a 32-bit version, then for each entry a 16-bit
tag, 16 bits of permissions and a 32-bit user or group ID.
"""

from __future__ import annotations

import errno
import grp
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gobbler.fs.open import user_name

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"

VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
READ, WRITE, ENTER = 4, 2, 1

_NONE = {errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True)
class AclEntry:
    """One entry: ``permissions`` for a ``tag``, and for its ``id`` if it names a user or group."""

    tag: int
    permissions: int
    id: int = -1

    @property
    def whom(self) -> str:
        """The users to whom the entry applies, in words."""
        if self.tag == USER:
            return f"user {user_name(self.id)}"
        if self.tag == GROUP:
            try:
                return f"group {grp.getgrgid(self.id).gr_name}"
            except KeyError:
                return f"group ID {self.id}"
        return {USER_OBJ: "owner", GROUP_OBJ: "owning group", MASK: "mask", OTHER: "others"}.get(
            self.tag, "somebody"
        )


@dataclass(frozen=True)
class Acl:
    """An access control list."""

    entries: tuple[AclEntry, ...]

    def find(self, tag: int) -> int:
        """The permissions of the only entry with ``tag``; 0 without one."""
        return next((e.permissions for e in self.entries if e.tag == tag), 0)

    def named(self) -> Iterator[AclEntry]:
        """The entries that name a user or a group, with the permissions that the mask leaves."""
        mask = next((e.permissions for e in self.entries if e.tag == MASK), 7)
        for entry in self.entries:
            if entry.tag in (USER, GROUP):
                yield AclEntry(entry.tag, entry.permissions & mask, entry.id)


def parse(data: bytes) -> Acl:
    """The ACL in an extended attribute. Raises ``ValueError`` if it is not valid."""
    if len(data) < 4 or len(data) % 8 != 4 or struct.unpack_from("<I", data)[0] != VERSION:
        raise ValueError("not a POSIX ACL")
    return Acl(tuple(AclEntry(*fields) for fields in struct.iter_unpack("<HHi", data[4:])))


Getter = Callable[[str, str], bytes]


def read(path: str, attribute: str, get: Getter = os.getxattr) -> Acl | None:
    """The ACL of ``path``, or ``None``. Raises ``ValueError`` if it is not valid."""
    try:
        data = get(path, attribute)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
    return parse(data)


def letters(permissions: int) -> str:
    """Permissions as ``getfacl`` shows them."""
    return "".join(c if permissions & bit else "-" for c, bit in (("r", 4), ("w", 2), ("x", 1)))


def describe(acl: Acl) -> str:
    """The grants of an ACL to named users and groups, in words."""
    grants = [f"{e.whom} {letters(e.permissions)}" for e in acl.named()]
    return ", ".join(grants) if grants else "nothing to anybody by name"
