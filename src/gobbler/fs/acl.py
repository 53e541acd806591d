"""POSIX access control lists (ACLs): what they grant beyond owner and mode.

The kernel shows an ACL in an extended attribute: a 32-bit version, then for each entry a 16-bit
tag, 16 bits of permissions and a 32-bit user or group ID.
"""

from __future__ import annotations

import errno
import functools
import grp
import operator
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gobbler.fs.open import user_name

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"

VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
READ, WRITE, ENTER = 4, 2, 1

NOBODY = 0xFFFFFFFF
"""The ID in entries that name nobody."""

_NONE = {errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True)
class AclEntry:
    """One entry: ``permissions`` for a ``tag``, and for its ``id`` if it names a user or group."""

    tag: int
    permissions: int
    id: int = NOBODY

    @property
    def whom(self) -> str:
        """The users to whom the entry applies, in words."""
        if self.tag == USER:
            name = user_name(self.id)
            return name if name.startswith("user ID ") else f"user {name}"
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

    def packed(self) -> bytes:
        """The value of the extended attribute."""
        fields = (struct.pack("<HHI", e.tag, e.permissions, e.id) for e in self.entries)
        return struct.pack("<I", VERSION) + b"".join(fields)

    def unmasked(self, tag: int) -> int:
        """The permissions of the only entry with ``tag``, as far as the mask leaves them."""
        return self.find(tag) & self._mask

    @property
    def _mask(self) -> int:
        return next((e.permissions for e in self.entries if e.tag == MASK), 7)

    def named(self) -> Iterator[AclEntry]:
        """The entries that name a user or a group, with the permissions that the mask leaves."""
        for entry in self.entries:
            if entry.tag in (USER, GROUP):
                yield AclEntry(entry.tag, entry.permissions & self._mask, entry.id)


def parse(data: bytes) -> Acl:
    """The ACL in an extended attribute. Raises ``ValueError`` if it is not valid."""
    if len(data) < 4 or len(data) % 8 != 4 or struct.unpack_from("<I", data)[0] != VERSION:
        raise ValueError("not a POSIX ACL")
    return Acl(tuple(AclEntry(*fields) for fields in struct.iter_unpack("<HHI", data[4:])))


def with_users(mode: int, users: Sequence[AclEntry]) -> Acl:
    """An ACL that grants what ``mode`` does, and further rights to ``users``."""
    owner, group, others = (mode >> 6) & 7, (mode >> 3) & 7, mode & 7
    mask = functools.reduce(operator.or_, (e.permissions for e in users), group)
    return Acl(
        (
            AclEntry(USER_OBJ, owner),
            *sorted(users, key=lambda entry: entry.id),
            AclEntry(GROUP_OBJ, group),
            AclEntry(MASK, mask),
            AclEntry(OTHER, others),
        )
    )


Getter = Callable[[str | int, str], bytes]


def read(file: str | int, attribute: str, get: Getter = os.getxattr) -> Acl | None:
    """The ACL of a path or descriptor, or ``None``. Raises ``ValueError`` if it is not valid."""
    try:
        data = get(file, attribute)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
    return parse(data)


def has_any(descriptor: int) -> bool:
    """Whether a file or directory has an access ACL or a default ACL."""
    try:
        return not {ACCESS_ACL, DEFAULT_ACL}.isdisjoint(os.listxattr(descriptor))
    except OSError as error:
        if error.errno in _NONE:
            return False
        raise


def remove(descriptor: int, mode: int) -> None:
    """Remove both ACLs of a file or directory of this account, and set its ``mode``."""
    for attribute in (ACCESS_ACL, DEFAULT_ACL):
        try:
            os.removexattr(descriptor, attribute)
        except OSError as error:
            # A file can't have a default ACL.
            if error.errno not in (*_NONE, errno.EACCES):
                raise
    os.fchmod(descriptor, mode)


def letters(permissions: int) -> str:
    """Permissions as ``getfacl`` shows them."""
    return "".join(c if permissions & bit else "-" for c, bit in (("r", 4), ("w", 2), ("x", 1)))


def describe(acl: Acl) -> str:
    """The grants of an ACL to named users and groups, in words."""
    grants = [f"{e.whom} {letters(e.permissions)}" for e in acl.named()]
    return ", ".join(grants) if grants else "nothing to anybody by name"
