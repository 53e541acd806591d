"""ACLs: who else can change the registry, and who can write what users put into staging."""

from __future__ import annotations

import os
import stat

from gobbler.doctor.findings import Finding, Place, Topic
from gobbler.fs import acl
from gobbler.fs.acl import (
    ACCESS_ACL,
    DEFAULT_ACL,
    ENTER,
    GROUP_OBJ,
    OTHER,
    READ,
    USER,
    WRITE,
    Acl,
    AclEntry,
    Getter,
    describe,
    read,
)
from gobbler.fs.atomic_write import FILE_MODE
from gobbler.fs.authorship import other_writers
from gobbler.fs.open import closing, user_name


def access_acl(topic: Topic, place: Place, get: Getter = os.getxattr) -> Finding:
    """The grants of the ACL of the directory."""
    try:
        found = read(place.path, ACCESS_ACL, get)
    except ValueError:
        return topic.warning(f"the ACL of {place} can't be read", f"getfacl {place.shell}")
    if found is None:
        return topic.ok("none")
    writers = _other_writers(found)
    if place.what == "registry" and writers:
        return topic.warning(
            f"an ACL lets others write to {place}: {', '.join(e.whom for e in writers)}; they can "
            f"rename and remove projects",
            f"If they are not administrators: setfacl -b {place.shell}",
        )
    return topic.ok(f"grants {describe(found)}")


def _other_writers(found: Acl) -> list[AclEntry]:
    """The named entries that let others than root and this account write."""
    return [
        entry
        for entry in found.named()
        if entry.permissions & WRITE and not (entry.tag == USER and entry.id in (0, os.geteuid()))
    ]


def default_acl(topic: Topic, place: Place, get: Getter = os.getxattr) -> Finding:
    """The grants of the default ACL of the directory to new files."""
    try:
        found = read(place.path, DEFAULT_ACL, get)
    except ValueError:
        return topic.warning(f"the default ACL of {place} can't be read", f"getfacl {place.shell}")
    if found is None:
        return topic.ok("none")
    if place.what == "staging":
        return _default_of_staging(topic, place, found)
    if found.find(OTHER) & (READ | ENTER) != READ | ENTER:
        return topic.fault(
            f"a default ACL of {place} keeps others from reading published files",
            f"setfacl -d -m o::rX {place.shell}, or remove the default ACL: "
            f"setfacl -k {place.shell}",
        )
    return topic.ok(f"new files and directories grant {describe(found)}")


def _default_of_staging(topic: Topic, place: Place, found: Acl) -> Finding:
    remove = f"setfacl -k {place.shell}"
    if writers := _other_writers(found):
        return topic.fault(
            f"a default ACL lets {', '.join(e.whom for e in writers)} write every new file in "
            f"{place}, and so act for others: the service refuses such requests",
            remove,
        )
    if found.find(OTHER) & WRITE or found.unmasked(GROUP_OBJ) & WRITE:
        whom = "everybody" if found.find(OTHER) & WRITE else "the group of its owner"
        return topic.fault(
            f"a default ACL lets {whom} write every new file in {place}, whatever the umask, and "
            f"so act for others: the service refuses such requests",
            f"setfacl -d -m g::rX,o::rX {place.shell}, or remove the default ACL: {remove}",
        )
    account = os.geteuid()
    grants = [e for e in found.named() if e.tag == USER and e.id == account]
    if not (found.find(OTHER) | (grants[0].permissions if grants else 0)) & READ and account != 0:
        name = user_name(account)
        return topic.fault(
            f"a default ACL of {place} keeps the service's account ({name}) from reading requests",
            f"setfacl -d -m u:{name}:rwX {place.shell}, or remove the default ACL: {remove}",
        )
    return topic.ok(f"new files and directories grant {describe(found)}")


def kept_modes(topic: Topic, directory: str) -> Finding:
    """Whether a user can make a file that nobody else can write."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with closing(os.open(f"{directory}/file", flags, 0o600)) as made:
        acl.remove(made, FILE_MODE)
        status = os.fstat(made)
        writers = list(other_writers(status, read(made, ACCESS_ACL)))
    if status.st_uid != os.geteuid():
        return topic.fault(
            "new files do not belong to the account that creates them",
            "Switch off the mapping of accounts in the mount or the file server (CIFS uid=, NFS "
            "all_squash or root_squash): the owner of a file is the only authentication.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if writers:
        return topic.fault(
            f"files get mode {mode:04o}, whatever their owner asks for: {' and '.join(writers)} "
            f"can write them, and so act for others",
            "Switch off mount options such as file_mode, dir_mode and umask, or choose another "
            "filesystem.",
        )
    return topic.ok(f"files keep their mode, {mode:04o}")
