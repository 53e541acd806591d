"""Copying what was fetched to a place of the user's own."""

from __future__ import annotations

import os
import secrets
import shutil

from gobbler.errors import Refused, quoted
from gobbler.names import INTERNAL_PREFIX


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
            hint="Nothing is ever overwritten; name another place, or remove it first.",
        )


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
