"""Authorship: the owner of a file is its author only if nobody else can write the file.

The owner of a request file is the only authentication there is. But a umask of 000, an ACL, or a
default ACL of the directory may let others write the file, and then it can say what they want.
All of it is read from one open descriptor.

A group is *private* to a user if nobody else is in it. Systems with a umask of 002 give each user
such a group, of the user's own name, so that a file which its group may write is still its
owner's alone.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gobbler.errors import Code, Refused, quoted
from gobbler.fs.accounts import state_of_accounts
from gobbler.fs.acl import ACCESS_ACL, GROUP, GROUP_OBJ, USER, WRITE, Acl, read
from gobbler.fs.os_errors import with_path


@dataclass(frozen=True)
class Authorship:
    """Decides whether the owner of a user's file or directory counts as its author.

    With ``trust_groups``, those who can write it as members of a group do no harm.
    """

    trust_groups: bool = False

    def check(self, descriptor: int, status: os.stat_result, what: str, path: str) -> None:
        """Refuse the open ``what`` at ``path`` if others than its owner can write it.

        ``status`` is that of the ``descriptor``. Root and the account of this process may
        write it. Raises :class:`~gobbler.errors.Refused`.
        """
        writers = list(self._writers(descriptor, status, path))
        if not writers:
            return
        command = f"chmod go-w {shlex.quote(path)}"
        raise Refused(
            f"{what} {quoted(os.path.basename(path))} can be written by {' and '.join(writers)} "
            f"(mode {stat.S_IMODE(status.st_mode):04o}), so its owner may not be its author",
            code=Code.WRITABLE_BY_OTHERS,
            hint=f"Only its owner may write it: {command}"
            if stat.S_ISDIR(status.st_mode)
            else f"Write a new one that only you can write: set umask 022, and where a default "
            f"ACL of the directory still lets others write it, run {command} before you write "
            f"its content.",
        )

    def _writers(self, descriptor: int, status: os.stat_result, path: str) -> Iterator[str]:
        try:
            with with_path(path):
                acl = read(descriptor, ACCESS_ACL)
        except ValueError:
            yield "users of an ACL that the service can't read"
            return
        yield from other_writers(status, acl, trust_groups=self.trust_groups)


def other_writers(
    status: os.stat_result,
    acl: Acl | None,
    *,
    trust_groups: bool = False,
    trusts: Callable[[int], bool] = lambda _: False,
) -> Iterator[str]:
    """Who can write a file or directory besides its owner, root and this process; in words.

    ``status`` and ``acl`` (``None``: it has none) are those of the file. Leaves out the user IDs
    that the caller ``trusts``.
    """
    if status.st_mode & stat.S_IWOTH:
        yield "everybody"
    # With an ACL, the bits of the group in the mode are the mask, which limits all named entries.
    if not status.st_mode & stat.S_IWGRP:
        return
    if acl is None or acl.unmasked(GROUP_OBJ) & WRITE:
        yield from _group_members(status.st_gid, status.st_uid, trust_groups=trust_groups)
    for entry in acl.named() if acl is not None else ():
        if not entry.permissions & WRITE:
            continue
        known = (0, status.st_uid, os.geteuid())
        if entry.tag == USER and entry.id not in known and not trusts(entry.id):
            yield f"the {entry.whom}"
        if entry.tag == GROUP:
            yield from _group_members(entry.id, status.st_uid, trust_groups=trust_groups)


def _group_members(gid: int, owner: int, *, trust_groups: bool) -> Iterator[str]:
    if not trust_groups and not is_private_group(gid, owner):
        yield f"the group {group_name(gid)}"


def group_name(gid: int) -> str:
    """The name of the group ``gid``; without one, ``ID`` and the number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"ID {gid}"


def is_private_group(gid: int, uid: int) -> bool:
    """Whether only the account ``uid`` is in the group ``gid``, as far as this host knows.

    It must be the primary group of the account, have its name, no other member, and be the
    primary group of no other account that this host lists. The name matters: directory services
    seldom list all accounts, and a common primary group, such as ``users``, lists no members.
    """
    return _is_private(gid, uid, state_of_accounts())


@functools.lru_cache(maxsize=4096)
def _is_private(gid: int, uid: int, state: tuple[object, ...]) -> bool:
    del state
    try:
        account, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return (
        account.pw_gid == gid
        and account.pw_name == group.gr_name
        and set(group.gr_mem) <= {account.pw_name}
        and all(other.pw_uid == uid for other in pwd.getpwall() if other.pw_gid == gid)
    )
