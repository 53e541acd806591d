"""Owners, modes and ACLs: who can change the registry, and who can reach both directories."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator

from gobbler.doctor.findings import Finding, Place, Topic, system_message
from gobbler.fs import acl
from gobbler.fs.atomic_write import DIRECTORY_MODE, FILE_MODE
from gobbler.fs.authorship import group_name, is_private_group
from gobbler.fs.layout import REGISTRY_MODE, STAGING_MODE
from gobbler.fs.open import user_name

MODES = {"staging": STAGING_MODE, "registry": REGISTRY_MODE}


def existence(topic: Topic, place: Place) -> Finding:
    """Whether the directory exists."""
    try:
        status = os.stat(place.path)
    except FileNotFoundError:
        return topic.fault(
            f"{place} does not exist",
            f"Create it: mkdir -m {MODES[place.what]:04o} {place.shell}",
            refused=True,
        )
    except OSError as error:
        return topic.fault(f"{place}: {system_message(error)}", refused=True)
    if not stat.S_ISDIR(status.st_mode):
        return topic.fault(
            f"the {place.what} {place.path} is not a directory",
            f"Choose a directory with --{place.what}.",
            refused=True,
        )
    return topic.ok(f"{place.path} is a directory")


def access(topic: Topic, place: Place) -> Finding:
    """Whether the account can list, enter and change the directory."""
    account = f"the service's account ({user_name(os.geteuid())})"
    if os.access(place.path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return topic.ok("the account can read and write")
    if place.what == "staging" and os.access(place.path, os.W_OK | os.X_OK, effective_ids=True):
        name = user_name(os.geteuid())
        return topic.warning(
            f"{account} can't list {place}, so nobody removes what users leave there",
            f"chown {name} {place.shell}, or setfacl -m u:{name}:rwx {place.shell}",
        )
    if _is_read_only(place.path):
        return topic.fault(
            f"{place} is on a filesystem that is mounted read-only",
            "Check the kernel's log: after an error, the kernel makes a filesystem read-only. Then "
            "remount it: mount -o remount,rw ...",
            refused=True,
        )
    return topic.fault(
        f"{account} can't write to {place}",
        "Change its owner to that account (chown), or run the service as another account.",
        refused=True,
    )


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def apart(topic: Topic, staging: Place, registry: Place) -> Finding:
    """Whether neither directory is, or contains, the other."""
    if _is_inside(staging.path, registry.path) or _is_inside(registry.path, staging.path):
        return topic.fault(
            f"staging {staging.path} and registry {registry.path} overlap",
            "Choose directories of which neither contains the other: users write to staging.",
            refused=True,
        )
    return topic.ok("staging and registry are apart")


def _is_inside(path: str, other: str) -> bool:
    # By identity: one directory may be mounted in two places.
    status = os.stat(other)
    return any(
        os.path.samestat(os.stat(directory), status)
        for directory in (os.path.realpath(path), *above(path))
    )


def own_directory(topic: Topic, path: str, mode: int) -> Finding:
    """Whether the service owns its directory ``path``, and its mode is ``mode``."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return topic.ok("missing; the service creates it")
    except OSError as error:
        return topic.fault(f"{path}: {system_message(error)}", refused=True)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return topic.fault(
            f"{path} is not a directory of the service's own account",
            "Remove it, and the service creates it again. Or run the service as the account that "
            "owns it.",
            refused=True,
        )
    has = stat.S_IMODE(status.st_mode)
    remedy = f"chmod {mode:04o} {shlex.quote(path)}"
    if has & 0o022 & ~mode:
        return topic.fault(
            f"{path} is writable by others (mode {has:04o})", remedy, refused=bool(has & 0o002)
        )
    if mode & ~has & stat.S_ISVTX:
        return topic.fault(
            f"{path} lets users remove files of others (mode {has:04o})", remedy, refused=True
        )
    if has & 0o777 & ~mode:
        return topic.warning(f"{path} is readable by others (mode {has:04o})", remedy)
    if mode & ~has:
        return topic.warning(f"{path} keeps out users who need it (mode {has:04o})", remedy)
    return topic.ok("belongs to the service")


def above(path: str) -> Iterator[str]:
    """The parents of ``path``, links resolved, from the nearest to the root."""
    directory = os.path.realpath(path)
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        yield directory


OTHERS_ENTER = stat.S_IXOTH
OTHERS_READ = stat.S_IROTH | stat.S_IXOTH


def registry_owner(topic: Topic, registry: Place) -> Finding:
    """Whether the service's account, or root, owns the registry."""
    owner = os.stat(registry.path).st_uid
    if owner in (0, os.geteuid()):
        return topic.ok(f"belongs to {user_name(owner)}")
    account = user_name(os.geteuid())
    return topic.fault(
        f"{registry} belongs to {user_name(owner)}, not to {account}: the owner can change "
        f"everything in it",
        f"Run the service as {user_name(owner)}, or change the owner: chown -R {account} "
        f"{registry.shell}",
    )


def registry_writers(topic: Topic, registry: Place) -> Finding:
    """Whether the service alone can write to the registry."""
    status = os.stat(registry.path)
    if status.st_mode & stat.S_IWOTH:
        return topic.fault(
            f"{registry} is writable by everybody",
            f"Only the service may write to it: chmod o-w {registry.shell}",
            refused=True,
        )
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        return topic.warning(
            f"{registry} is writable by the group {group_name(status.st_gid)}, whose members "
            f"can rename and remove projects",
            f"If they are not all administrators: chmod g-w {registry.shell}",
        )
    return topic.ok("only the service can write")


def _is_own_group(gid: int) -> bool:
    """Whether this account is the only member of a group."""
    return is_private_group(gid, os.geteuid())


def registry_readers(topic: Topic, registry: Place) -> Finding:
    """Whether everybody can list and enter the registry."""
    if os.stat(registry.path).st_mode & OTHERS_READ == OTHERS_READ:
        return topic.ok("everybody can read")
    return topic.warning(
        f"not everybody can read {registry}: users read files over HTTP only",
        f"If they should: chmod o+rx {registry.shell}",
    )


def staging_writers(topic: Topic, staging: Place) -> Finding:
    """Whether users can write to staging."""
    status = os.stat(staging.path)
    if status.st_mode & 0o003 == 0o003:
        return topic.ok("everybody can add files")
    remedy = f"chmod {STAGING_MODE:04o} {staging.shell}"
    if status.st_mode & 0o030 == 0o030 and not _is_own_group(status.st_gid):
        return topic.warning(
            f"only the group {group_name(status.st_gid)} (and users that an ACL names) can add "
            f"files to {staging}",
            f"If all users should: {remedy}",
        )
    return topic.fault(f"users can't add files to {staging}", remedy)


def staging_listing(topic: Topic, staging: Place) -> Finding:
    """Whether users can list staging, and so see the names of the requests of others."""
    status = os.stat(staging.path)
    found = None
    with contextlib.suppress(ValueError):
        found = acl.read(staging.path, acl.ACCESS_ACL)
    group = status.st_mode >> 3 if found is None else found.unmasked(acl.GROUP_OBJ)
    readers = []
    if status.st_mode & stat.S_IROTH:
        readers.append("everybody")
    elif group & acl.READ and not _is_own_group(status.st_gid):
        readers.append(f"the group {group_name(status.st_gid)}")
    if not readers:
        return topic.ok("users can't list it")
    if found is not None:  # chmod would change the mask
        remedy = f"setfacl -m g::wx,o::wx {staging.shell}"
    elif status.st_mode & stat.S_IROTH:
        remedy = f"chmod {STAGING_MODE:04o} {staging.shell}"
    else:
        remedy = f"chmod g-r {staging.shell}"
    return topic.warning(
        f"{readers[0]} can list {staging}: who sees the name of a request can send it first, and "
        f"follow its job",
        f"{remedy}. No known client lists it: neither gobbler, nor pygobbler, nor gobbler for R. "
        f"Scripts that do `ls` there would mind, and a Go service unless it owns the directory.",
    )


def staging_sticky(topic: Topic, staging: Place) -> Finding:
    """Whether users can rename or remove files of others in staging."""
    mode = os.stat(staging.path).st_mode
    if mode & stat.S_ISVTX or not mode & 0o022:
        return topic.ok("users can't remove files of others")
    return topic.fault(
        f"{staging} has no sticky bit: every user can rename and remove files of others, and the "
        f"service's record of the requests that it has begun",
        f"chmod +t {staging.shell}",
    )


def staging_owner(topic: Topic, staging: Place) -> Finding:
    """Whether the owner of staging, who can remove anything in it, is the service or root."""
    owner = os.stat(staging.path).st_uid
    if owner in (0, os.geteuid()):
        return topic.ok(f"belongs to {user_name(owner)}")
    return topic.warning(
        f"{staging} belongs to {user_name(owner)}, who can rename and remove files of others",
        f"chown root {staging.shell}",
    )


def reach(topic: Topic, place: Place) -> Finding:
    """Whether everybody can enter all parents of the directory."""
    closed = [path for path in above(place.path) if not os.stat(path).st_mode & OTHERS_ENTER]
    if not closed:
        return topic.ok("everybody can enter its parent directories")
    which = " and ".join(closed)
    remedy = f"chmod o+x {' '.join(map(shlex.quote, closed))}"
    if place.what == "staging":
        return topic.fault(f"users can't reach {place}: {which} is closed to others", remedy)
    return topic.warning(
        f"users read files of {place} over HTTP only: {which} is closed to others",
        f"If they should: {remedy}",
    )


def replaceable(topic: Topic, place: Place) -> Finding:
    """Whether somebody else can replace the directory."""
    return next(_replacing(topic, place), topic.ok("nobody else can replace it"))


def _replacing(topic: Topic, place: Place) -> Iterator[Finding]:
    warnings = []
    for path in above(place.path):
        status = os.stat(path)
        if status.st_mode & stat.S_ISVTX == 0:
            if status.st_mode & stat.S_IWOTH:
                yield topic.fault(
                    f"everybody can write to {path}, and so replace {place}",
                    f"chmod o-w {shlex.quote(path)}, or set its sticky bit with chmod +t",
                )
            elif (
                status.st_mode & stat.S_IWGRP and status.st_gid and not _is_own_group(status.st_gid)
            ):
                warnings.append(
                    f"the group {group_name(status.st_gid)} can write to {path}, and so replace "
                    f"{place}"
                )
        if status.st_uid not in (0, os.geteuid()):
            warnings.append(
                f"{path} belongs to {user_name(status.st_uid)}, who can replace {place}"
            )
    for sentence in warnings:
        yield topic.warning(sentence, "If you don't trust them, choose another directory.")


def modes_made(topic: Topic, directory: str) -> Finding:
    """Whether new files and directories have the mode that the service gives them."""
    new_file, new_directory = f"{directory}/file", f"{directory}/directory"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(new_file, flags, FILE_MODE))
    os.mkdir(new_directory, DIRECTORY_MODE)
    found = [os.stat(path) for path in (new_file, new_directory)]
    if any(status.st_uid != os.geteuid() for status in found):
        return topic.fault(
            "new files do not belong to the account that creates them",
            "Switch off the mapping of accounts in the mount or the file server (CIFS uid=, NFS "
            "all_squash or root_squash): the owner of a file is the only authentication.",
        )
    modes = [stat.S_IMODE(status.st_mode) for status in found]
    shown = f"files get mode {modes[0]:04o}, directories {modes[1]:04o}"
    remedy = "Remove default ACLs (setfacl -k), and mount options such as file_mode and umask."
    wanted = (FILE_MODE, DIRECTORY_MODE)
    if any(mode & 0o022 for mode in modes):
        everybody = any(mode & 0o002 for mode in modes)
        return topic.fault(f"{shown}: others can change published files", remedy, refused=everybody)
    if any(want & ~mode for mode, want in zip(modes, wanted, strict=True)):
        return topic.fault(f"{shown}: users can't read published files", remedy)
    return topic.ok(shown)
