"""A directory to try things out in, which is gone afterwards."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gobbler.doctor.places import Place
from gobbler.fs.atomic_write import PRIVATE_DIRECTORY_MODE
from gobbler.fs.open import DIRECTORY, closing, open_directory, user_name
from gobbler.fs.removal import is_older, remove
from gobbler.model.names import INCOMING

PREFIX = "..doctor-"
FORGOTTEN_AFTER = 3600.0
"""Seconds after which what a killed doctor has left is removed by the next one."""

REMOVED_WITHIN = 2.0


def unique_name() -> str:
    """A name that nobody else uses, and that every reader of the protocol ignores."""
    return PREFIX + secrets.token_hex(8)


@contextmanager
def workplace(place: Place) -> Iterator[str]:
    """The path of a new, private directory in ``place``, removed at the end of the block.

    In the registry it is inside of ``..incoming`` where that is there, as versions that are
    being built. The path leads through the open directory: whoever swaps a directory on the
    way for another gains nothing.
    """
    with closing(open_directory(_where(place))) as parent:
        _sweep(parent)
        with _made(parent) as name:
            directory = os.open(name, DIRECTORY, dir_fd=parent)
            with closing(directory):
                owner = os.fstat(directory).st_uid
                if owner != os.geteuid():
                    raise PermissionError(
                        errno.EPERM,
                        f"what was just made there belongs to {user_name(owner)}: the mount or the "
                        f"file server maps accounts, or somebody replaced it",
                    )
                yield f"/proc/self/fd/{directory}"


@contextmanager
def corner(directory: str) -> Iterator[str]:
    """A new directory for one probe in a workplace, gone at the end of the block."""
    path = f"{directory}/{secrets.token_hex(8)}"
    os.mkdir(path, PRIVATE_DIRECTORY_MODE)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # what is left goes with the workplace


def make(path: str, data: bytes = b"") -> None:
    """Make the file ``path``, which must not be there."""
    with open(path, "xb") as file:
        file.write(data)


@contextmanager
def passing_place(registry: Place) -> Iterator[str]:
    """A path directly in the registry at which nothing stands; nothing will afterwards."""
    with closing(open_directory(registry.path)) as parent:
        name = unique_name()
        try:
            yield f"{registry.path}/{name}"
        finally:
            _remove(parent, name)


def _where(place: Place) -> str:
    if place.what == "registry":
        incoming = f"{place.path}/{INCOMING}"
        with suppress(OSError):
            status = os.lstat(incoming)
            if status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode):
                return incoming
    # Not in staging/..requests: what a killed doctor leaves there would be in the way.
    return place.path


@contextmanager
def _made(parent: int) -> Iterator[str]:
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
        _remove_in_time(parent, name)  # a signal ends us only after that
        raise


def _remove_in_time(parent: int, name: str) -> None:
    # On NFS the file that a killed process had open stays until it is really gone.
    deadline = time.monotonic() + REMOVED_WITHIN
    while not remove(parent, name) and time.monotonic() < deadline:
        time.sleep(0.05)


def _sweep(parent: int) -> None:
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.startswith(PREFIX)
            and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
        ]
    for name in names:
        if is_older(parent, name, time.time() - FORGOTTEN_AFTER):
            remove(parent, name)
