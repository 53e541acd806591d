"""Scratch directories for trials, removed afterwards."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gobbler.doctor.findings import Place
from gobbler.fs.atomic_write import PRIVATE_DIRECTORY_MODE
from gobbler.fs.open import DIRECTORY, closing, enter_directory, open_directory, user_name
from gobbler.fs.removal import is_older, remove, remove_tree_quietly
from gobbler.model.names import INCOMING

PREFIX = "..doctor-"
DESCRIPTORS = "/proc/self/fd"
"""Where the kernel lists the open files of this process."""
ABANDONED_AFTER = 3600.0
"""Seconds after which the next run removes the scratch directory of a killed one."""

REMOVED_WITHIN = 2.0


def unique_name() -> str:
    """A new name, which every reader of the protocol ignores."""
    return PREFIX + secrets.token_hex(8)


@contextmanager
def scratch_directory(place: Place) -> Iterator[str]:
    """The path of a new, private directory in ``place``, removed at the end of the block.

    In the registry it is inside ``..incoming`` if that exists, like a version in preparation. The
    path goes through the open directory, so nobody can swap a directory on the way.
    """
    if not os.path.isdir(DESCRIPTORS):
        raise FileNotFoundError(errno.ENOENT, "/proc is not mounted here, and all probes need it")
    with closing(enter_directory(_parent_of(place))) as parent:
        with suppress(PermissionError):  # to list staging, which the service may not need
            _remove_abandoned(_parent_of(place))
        with _new_directory(parent) as name:
            directory = os.open(name, DIRECTORY, dir_fd=parent)
            with closing(directory):
                owner = os.fstat(directory).st_uid
                if owner != os.geteuid():
                    raise PermissionError(
                        errno.EPERM,
                        f"a new directory there belongs to {user_name(owner)}: the mount or the "
                        f"file server maps accounts, or somebody replaced the directory",
                    )
                yield f"{DESCRIPTORS}/{directory}"


@contextmanager
def subdirectory(directory: str) -> Iterator[str]:
    """A new directory for one probe in ``directory``, removed at the end of the block."""
    path = f"{directory}/{secrets.token_hex(8)}"
    os.mkdir(path, PRIVATE_DIRECTORY_MODE)
    try:
        yield path
    finally:
        remove_tree_quietly(path)


def create_file(path: str, data: bytes = b"") -> None:
    """Create the file ``path``, which must not exist."""
    with open(path, "xb") as file:
        file.write(data)


@contextmanager
def free_path(registry: Place) -> Iterator[str]:
    """A free path directly in the registry, free again after the block."""
    with closing(enter_directory(registry.path)) as parent:
        name = unique_name()
        try:
            yield f"{registry.path}/{name}"
        finally:
            _remove(parent, name)


def _parent_of(place: Place) -> str:
    if place.what == "registry":
        incoming = f"{place.path}/{INCOMING}"
        with suppress(OSError):
            status = os.lstat(incoming)
            if status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode):
                return incoming
    # Not in staging/..requests, which must hold nothing but requests.
    return place.path


@contextmanager
def _new_directory(parent: int) -> Iterator[str]:
    name = unique_name()
    os.mkdir(name, PRIVATE_DIRECTORY_MODE, dir_fd=parent)
    try:
        yield name
    finally:
        _remove(parent, name)


def _remove(parent: int, name: str) -> None:
    try:
        _remove_in_time(parent, name)
    except BaseException:
        _remove_in_time(parent, name)  # also after a signal
        raise


def _remove_in_time(parent: int, name: str) -> None:
    # On NFS, a file that a killed process had open stays until that process is gone.
    deadline = time.monotonic() + REMOVED_WITHIN
    while not remove(parent, name) and time.monotonic() < deadline:
        time.sleep(0.05)


def _remove_abandoned(path: str) -> None:
    with closing(open_directory(path)) as parent:
        with os.scandir(parent) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.startswith(PREFIX)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            ]
        for name in names:
            if is_older(parent, name, time.time() - ABANDONED_AFTER):
                remove(parent, name)
