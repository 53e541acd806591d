"""A registry in the terms of ``fsspec``: what it wants to know of a thing, and its errors."""

from __future__ import annotations

import datetime as dt
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from gobbler.client.calls.addresses import Address, parse
from gobbler.client.calls.contents import Known
from gobbler.client.errors import NotThere
from gobbler.errors import Forbidden, Missing, Refused
from gobbler.names import VersionKey
from gobbler.records import Entry, parse_time

Info = dict[str, Any]
"""What ``fsspec`` wants to know of one thing."""


def parsed(path: str) -> Address:
    """The address ``path``; one that can't be one is of something that is not there."""
    try:
        return parse(path)
    except Refused as error:
        raise NotThere(error.reason, path, hint=error.hint) from None


def key_of(address: Address) -> VersionKey:
    """The version that ``address`` is, or is in."""
    return VersionKey(address.project, address.asset, address.version)


def directory_info(name: str) -> Info:
    """A project, an asset, a version or a directory of one."""
    return {"name": name, "size": 0, "type": "directory"}


def file_info(name: str, known: Known, entry: Entry) -> Info:
    """A file of the version ``known``."""
    info: Info = {
        "name": name,
        "size": entry.size,
        "type": "file",
        "md5sum": entry.md5sum,
        "created": published(known),
    }
    if entry.link is not None:
        info["link"] = entry.link.end.key.file(entry.link.end.path)
    return info


def published(known: Known) -> dt.datetime | None:
    """When a version was published, if its summary tells."""
    return parse_time(known.summary.upload_finish)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what callers of a filesystem expect, where ours is something else."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Missing as error:
        raise NotThere(error.told, path) from None
    except Forbidden as error:
        raise PermissionError(errno.EACCES, error.told, path) from error


def read_only(path: object) -> NoReturn:
    """Refuse to change something."""
    raise OSError(
        errno.EROFS,
        "versions never change, so nothing can be written to gobbler://; "
        "publish a directory as a new one: gobbler upload DIRECTORY PROJECT/ASSET/VERSION",
        str(path),
    )
