"""Owners and modes: who can change the registry, who can reach both directories."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator

from gobbler.doctor.findings import Finding, Topic
from gobbler.doctor.places import Place, above
from gobbler.fs.open import user_name

OTHERS_ENTER = stat.S_IXOTH
OTHERS_READ = stat.S_IROTH | stat.S_IXOTH


def registry_owner(topic: Topic, registry: Place) -> Finding:
    """Only the service's account, or root, should own the registry."""
    owner = os.stat(registry.path).st_uid
    if owner in (0, os.geteuid()):
        return topic.ok(f"belongs to {user_name(owner)}")
    account = user_name(os.geteuid())
    return topic.fault(
        f"{registry} belongs to {user_name(owner)}, not to {account}: that account can change "
        f"everything in it",
        f"Run the service as {user_name(owner)}, or give the registry away: chown -R {account} "
        f"{registry.shell}",
    )


def registry_writers(topic: Topic, registry: Place) -> Finding:
    """Only the service should be able to write to the registry."""
    status = os.stat(registry.path)
    if status.st_mode & stat.S_IWOTH:
        return topic.fault(
            f"{registry} can be written by everybody",
            f"Only the service may write there: chmod o-w {registry.shell}",
            refused=True,
        )
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        return topic.warning(
            f"{registry} can be written by the group {_group(status.st_gid)}, whose members "
            f"can rename and remove projects",
            f"If they are not all administrators: chmod g-w {registry.shell}",
        )
    return topic.ok("nobody but the service can write")


def _is_own_group(gid: int) -> bool:
    """Whether a group is one that nobody but this account is in."""
    try:
        account = pwd.getpwuid(os.geteuid())
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    return gid == account.pw_gid and members <= {account.pw_name}


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"ID {gid}"


def registry_readers(topic: Topic, registry: Place) -> Finding:
    """Everybody should be able to list and enter the registry."""
    if os.stat(registry.path).st_mode & OTHERS_READ == OTHERS_READ:
        return topic.ok("everybody can read")
    return topic.warning(
        f"{registry} can't be read by everybody: users can't read files directly, only over HTTP",
        f"If they should: chmod o+rx {registry.shell}",
    )


def staging_writers(topic: Topic, staging: Place) -> Finding:
    """Users must be able to write to staging."""
    status = os.stat(staging.path)
    if status.st_mode & 0o003 == 0o003:
        return topic.ok("everybody can put files there")
    mend = f"chmod 1777 {staging.shell}"
    if status.st_mode & 0o030 == 0o030 and not _is_own_group(status.st_gid):
        return topic.warning(
            f"only the group {_group(status.st_gid)} (and whom an ACL names) can put files into "
            f"{staging}",
            f"If all users should: {mend}",
        )
    return topic.fault(f"users can't put files into {staging}", mend)


def staging_sticky(topic: Topic, staging: Place) -> Finding:
    """Users must not be able to rename or remove what others have put into staging."""
    mode = os.stat(staging.path).st_mode
    if mode & stat.S_ISVTX or not mode & 0o022:
        return topic.ok("nobody can remove what belongs to others")
    return topic.fault(
        f"{staging} has no sticky bit: every user can rename and remove what others put there, "
        f"and the service's memory of requests that were begun",
        f"chmod +t {staging.shell}",
    )


def staging_owner(topic: Topic, staging: Place) -> Finding:
    """The owner of a directory can remove anything in it, sticky bit or not."""
    owner = os.stat(staging.path).st_uid
    if owner in (0, os.geteuid()):
        return topic.ok(f"belongs to {user_name(owner)}")
    return topic.warning(
        f"{staging} belongs to {user_name(owner)}, who can rename and remove what others put there",
        f"chown root {staging.shell}",
    )


def reach(topic: Topic, place: Place) -> Finding:
    """Whether everybody can enter all directories above (and staging itself)."""
    closed = [path for path in above(place.path) if not os.stat(path).st_mode & OTHERS_ENTER]
    if not closed:
        return topic.ok("everybody can enter the directories above")
    which = " and ".join(closed)
    mend = f"chmod o+x {' '.join(map(shlex.quote, closed))}"
    if place.what == "staging":
        return topic.fault(f"users can't reach {place}: others can't enter {which}", mend)
    return topic.warning(
        f"users can't read files of {place} directly, only over HTTP: others can't enter {which}",
        f"If they should: {mend}",
    )


def replaceable(topic: Topic, place: Place) -> Finding:
    """Whether somebody can put another directory in its place."""
    return next(_replacing(topic, place), topic.ok("nobody else can replace it by another"))


def _replacing(topic: Topic, place: Place) -> Iterator[Finding]:
    warnings = []
    for path in above(place.path):
        status = os.stat(path)
        if status.st_mode & stat.S_ISVTX == 0:
            if status.st_mode & stat.S_IWOTH:
                yield topic.fault(
                    f"everybody can write to {path}, and so replace {place} by another one",
                    f"chmod o-w {shlex.quote(path)}, or set its sticky bit with chmod +t",
                )
            elif (
                status.st_mode & stat.S_IWGRP and status.st_gid and not _is_own_group(status.st_gid)
            ):
                warnings.append(
                    f"the group {_group(status.st_gid)} can write to {path}, and so replace {place}"
                )
        if status.st_uid not in (0, os.geteuid()):
            warnings.append(
                f"{path} belongs to {user_name(status.st_uid)}, who can replace {place}"
            )
    for sentence in warnings:
        yield topic.warning(sentence, "If they are not to be trusted so far, move it elsewhere.")
