"""Make a tree for the user: a copy of fetched files, or a clone made of symlinks."""

from __future__ import annotations

import os
import secrets
import shutil

from gobbler.client.address import listed_path
from gobbler.client.cache.entries import files_below
from gobbler.errors import Code, Refused, quoted
from gobbler.fs.space import check_space
from gobbler.fs.sparse import allocated, copy_parts, may_have_holes
from gobbler.model.names import INTERNAL_PREFIX, VersionKey
from gobbler.model.progress import NoProgress
from gobbler.model.records import Manifest


def export(source: str, destination: str) -> str:
    """Copy the file or directory ``source`` to ``destination``; return the path of the copy.

    If ``destination`` is a directory, a file is copied into it. The copy of a directory, without
    the files of the service, becomes ``destination``, which must be absent or empty. Links become
    files. The copy is complete, or does not exist.
    """
    if os.path.isfile(source) and os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(source))
    destination = os.path.abspath(destination)
    check_free(destination)
    parent, name = os.path.split(destination)
    os.makedirs(parent, exist_ok=True)
    check_space(parent, _space(source), f"a copy of {quoted(source)}")
    beside = os.path.join(parent, f".{name[:200]}-{secrets.token_hex(8)}")
    try:
        if os.path.isdir(source):
            ignored = shutil.ignore_patterns(f"{INTERNAL_PREFIX}*")
            # Without the modes: files in the cache are read-only, the copy is not.
            shutil.copytree(source, beside, ignore=ignored, copy_function=copy_file)
        else:
            copy_file(source, beside)
        os.rename(beside, destination)
    except BaseException:
        _remove(beside)
        raise
    return destination


def _space(source: str) -> int:
    if not os.path.isdir(source):
        return allocated(os.stat(source))
    return sum(allocated(file.stat()) for file in files_below(source))


def copy_file(source: str, target: str) -> None:
    """Copy the content of a file with its holes, without its mode; ``target`` is a new file."""
    with open(source, "rb") as reader:
        if not may_have_holes(os.fstat(reader.fileno())):
            shutil.copyfile(source, target)
            return
        with open(target, "xb") as writer:
            copy_parts(reader.fileno(), writer.fileno(), NoProgress(), lambda _: None)


def check_free(destination: str) -> None:
    """Refuse a ``destination`` that exists already, except an empty directory."""
    empty = os.path.isdir(destination) and not os.listdir(destination)
    if os.path.lexists(destination) and not empty:
        raise Refused(
            f"{quoted(destination)} exists already",
            code=Code.DESTINATION_EXISTS,
            hint="Name another destination, or remove it first. Nothing is overwritten.",
        )


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def clone(registry: str, key: VersionKey, manifest: Manifest, destination: str) -> None:
    """Make the directories of a version at ``destination``, and a symlink for every file.

    The links are absolute, so you can move the clone. Raises ``FileExistsError`` if a link's
    path exists already; the links that were made before stay.
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
