"""The two directories: are they there, apart from each other, and the service's to use?"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from gobbler.doctor.findings import Finding, Topic, plainly
from gobbler.fs.layout import (
    REGISTRY_MODE,
    STAGING_MODE,
    OwnDirectory,
    registry_directories,
    staging_directories,
)
from gobbler.fs.open import user_name

MODES = {"staging": STAGING_MODE, "registry": REGISTRY_MODE}


@dataclass(frozen=True)
class Place:
    """One of the two directories; ``what`` is ``staging`` or ``registry``."""

    what: str
    path: str

    def __str__(self) -> str:
        return f"the {self.what} directory {self.path}"

    @property
    def shell(self) -> str:
        """The path as a shell wants it."""
        return shlex.quote(self.path)

    def topic(self, what: str) -> Topic:
        """For findings about ``what`` of this directory."""
        return Topic(self.what, what)

    @property
    def own(self) -> tuple[OwnDirectory, ...]:
        """The service's own directories in it."""
        directories = staging_directories if self.what == "staging" else registry_directories
        return directories(self.path)


def existence(topic: Topic, place: Place) -> Finding:
    """Whether it is there and is a directory."""
    try:
        status = os.stat(place.path)
    except FileNotFoundError:
        return topic.fault(
            f"{place} does not exist",
            f"Make it first: mkdir -m {MODES[place.what]:04o} {place.shell}",
            refused=True,
        )
    except OSError as error:
        return topic.fault(f"{place}: {plainly(error)}", refused=True)
    if not stat.S_ISDIR(status.st_mode):
        return topic.fault(
            f"the {place.what} {place.path} is not a directory",
            f"Name another one with --{place.what}.",
            refused=True,
        )
    return topic.ok(f"{place.path} is a directory")


def access(topic: Topic, place: Place) -> Finding:
    """Whether the account can list, enter and change it."""
    account = f"the service's account ({user_name(os.geteuid())})"
    if os.access(place.path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return topic.ok("the account can read and write it")
    if _is_read_only(place.path):
        return topic.fault(
            f"{place} is on a filesystem that is mounted read-only",
            "Mount it writable (mount -o remount,rw ...), and look into the kernel's log: "
            "after an error a filesystem may have become read-only by itself.",
            refused=True,
        )
    return topic.fault(
        f"{account} can't write to {place}",
        "Give it to that account (chown), or run the service as another one.",
        refused=True,
    )


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def apart(topic: Topic, staging: Place, registry: Place) -> Finding:
    """Whether neither is, or is inside of, the other."""
    if _is_inside(staging.path, registry.path) or _is_inside(registry.path, staging.path):
        return topic.fault(
            f"staging {staging.path} and registry {registry.path} overlap",
            "Neither may be, or be inside of, the other: users write to staging.",
            refused=True,
        )
    return topic.ok("staging and registry are apart")


def _is_inside(path: str, other: str) -> bool:
    # By identity, not by name: one directory may be mounted at two places.
    status = os.stat(other)
    return any(
        os.path.samestat(os.stat(directory), status)
        for directory in (os.path.realpath(path), *above(path))
    )


def above(path: str) -> Iterator[str]:
    """The directories above ``path``, links resolved, from the nearest to the root."""
    directory = os.path.realpath(path)
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        yield directory


def own_directory(topic: Topic, path: str, mode: int) -> Finding:
    """Whether the directory ``path`` of the service is its own, or not yet there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return topic.ok("not there yet; the service makes it")
    except OSError as error:
        return topic.fault(f"{path}: {plainly(error)}", refused=True)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return topic.fault(
            f"{path} is not a directory of the service's own account",
            "Somebody else made it, or the service ran as another account then. Remove it "
            "(the service makes it anew), or run the service as that account.",
            refused=True,
        )
    has = stat.S_IMODE(status.st_mode)
    mend = f"chmod {mode:04o} {shlex.quote(path)}"
    if has & 0o022 & ~mode:
        return topic.fault(
            f"{path} can be written by others (mode {has:04o})", mend, refused=bool(has & 0o002)
        )
    if mode & ~has & stat.S_ISVTX:
        return topic.fault(
            f"{path} lets users remove what others put there (mode {has:04o})", mend, refused=True
        )
    if has & 0o777 & ~mode:
        return topic.warning(f"{path} can be looked into by others (mode {has:04o})", mend)
    if mode & ~has:
        return topic.warning(f"{path} can't be used by all who should (mode {has:04o})", mend)
    return topic.ok("the service's own")
