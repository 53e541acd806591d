"""What POSIX access control lists grant in the directories of a service."""

from __future__ import annotations

import os

from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.places import Place
from gobbler.fs.acl import ACCESS, DEFAULT, ENTER, OTHER, READ, USER, WRITE, Getter, describe, read


def access_acl(topic: Topic, place: Place, get: Getter = os.getxattr) -> Finding:
    """What the directory's own list grants."""
    try:
        acl = read(place.path, ACCESS, get)
    except ValueError:
        return topic.warning(f"the ACL of {place} can't be read", f"getfacl {place.shell}")
    if acl is None:
        return topic.ok("none")
    writers = [
        entry
        for entry in acl.named()
        if entry.permissions & WRITE and not (entry.tag == USER and entry.id in (0, os.geteuid()))
    ]
    if place.what == "registry" and writers:
        return topic.warning(
            f"an ACL lets others write to {place}: {', '.join(e.whom for e in writers)}; they can "
            f"rename and remove projects",
            f"If they are not administrators: setfacl -b {place.shell}",
        )
    return topic.ok(f"grants {describe(acl)}")


def default_acl(topic: Topic, place: Place, get: Getter = os.getxattr) -> Finding:
    """What the directory's list for whatever is made in it grants."""
    try:
        acl = read(place.path, DEFAULT, get)
    except ValueError:
        return topic.warning(f"the default ACL of {place} can't be read", f"getfacl {place.shell}")
    if acl is None:
        return topic.ok("none")
    if place.what == "registry" and acl.find(OTHER) & (READ | ENTER) != READ | ENTER:
        return topic.fault(
            f"a default ACL of {place} keeps others from reading what is published",
            f"setfacl -d -m o::rX {place.shell}, or without any default ACL: "
            f"setfacl -k {place.shell}",
        )
    return topic.ok(f"new files and directories grant {describe(acl)}")
