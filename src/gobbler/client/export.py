"""Copying what was fetched to a place of the user's own.

A version's tree made of symlinks, to build the next version on.
"""

from __future__ import annotations

import os
import secrets
import shutil

from gobbler.client.paths import listed_path
from gobbler.errors import Code, Refused, quoted
from gobbler.model.names import INTERNAL_PREFIX, VersionKey
from gobbler.model.records import Manifest


def export(source: str, destination: str) -> str:
    """Copy the file or directory ``source`` to ``destination``; answer where it is.

    A file goes into ``destination`` if that is a directory. A directory becomes
    ``destination``, which must not exist or be empty; the service's own files are left
    out. Links become files. What has its final name is complete.
    """
    if os.path.isfile(source) and os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(source))
    destination = os.path.abspath(destination)
    check_free(destination)
    parent, name = os.path.split(destination)
    os.makedirs(parent, exist_ok=True)
    beside = os.path.join(parent, f".{name[:200]}-{secrets.token_hex(8)}")
    try:
        if os.path.isdir(source):
            ignored = shutil.ignore_patterns(f"{INTERNAL_PREFIX}*")
            # Not with their modes: what is in the cache can't be written, the copy can.
            shutil.copytree(source, beside, ignore=ignored, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, beside)
        os.rename(beside, destination)
    except BaseException:
        _remove(beside)
        raise
    return destination


def check_free(destination: str) -> None:
    """Refuse a ``destination`` where something stands, other than an empty directory."""
    empty = os.path.isdir(destination) and not os.listdir(destination)
    if os.path.lexists(destination) and not empty:
        raise Refused(
            f"{quoted(destination)} is already there",
            code=Code.DESTINATION_EXISTS,
            hint="Nothing is ever overwritten; name another place, or remove it first.",
        )


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def clone(registry: str, key: VersionKey, manifest: Manifest, destination: str) -> None:
    """Make at ``destination`` the directories of a version, and a symlink for every file.

    The links are absolute, so the clone may be moved. Raises ``FileExistsError`` when
    something stands where a link should; links made until then stay.
    """
    version = os.path.join(os.path.abspath(registry), key.path)
    os.makedirs(destination, exist_ok=True)
    for path, entry in manifest.items():
        target = os.path.join(destination, listed_path(path))
        if entry.is_directory:
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.join(version, path), target)
