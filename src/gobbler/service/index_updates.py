"""The index of a service: whether its file is in a good place, and keeping it up to date."""

from __future__ import annotations

import logging
import os
import stat
import time

from gobbler.errors import GobblerError, Misconfigured
from gobbler.fs.mounts import is_below, reports_all_changes
from gobbler.index import Index
from gobbler.index.database import ForeignIndex, UnusableIndex
from gobbler.index.index import IndexUpdater
from gobbler.registry.registry import Registry
from gobbler.service.settings import Settings

LOOK_EVERY = 60.0
"""Seconds between two looks for versions that have come or gone."""

logger = logging.getLogger(__name__)


def index_of(settings: Settings) -> Index | None:
    """The index, if there is to be one."""
    return Index(settings.index, Registry(settings.registry)) if settings.index else None


def check_index(settings: Settings) -> None:
    """Make sure that nobody else can write the index, and that it is of this registry.

    Raises :class:`~gobbler.service.settings.Misconfigured`; what only keeps the index from
    being used is logged.
    """
    if (index := index_of(settings)) is None:
        return
    directory = os.path.realpath(os.path.dirname(index.path))
    for place in settings.places:
        if is_below(directory, os.path.realpath(place.path)):
            raise Misconfigured(
                f"the index {index.path} is in {place}",
                hint="Keep it in a directory of the service's own, on a local disk.",
            )
    _check_owner(directory, index.path)
    if not reports_all_changes(directory):
        logger.warning(
            "the index %s is not known to be on a local disk: locks of network filesystems may "
            "not be good enough for SQLite",
            index.path,
        )
    try:
        index.probe()
    except ForeignIndex as error:
        raise Misconfigured(
            f"the index {index.path} can't be used: {error}",
            hint="Give each registry a file of its own, or remove this one.",
        ) from None
    except UnusableIndex as error:
        logger.warning("the index %s can't be used yet: %s", index.path, error)


def _check_owner(directory: str, path: str) -> None:
    own = "Make it one of the service's own, which nobody else can write."
    try:
        status = os.stat(directory)
    except OSError as error:
        raise Misconfigured(
            f"the directory {directory} of the index can't be used: {error.strerror}", hint=own
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"{directory}, where the index is to be, is not a directory")
    if status.st_mode & stat.S_IWOTH:
        raise Misconfigured(
            f"the directory {directory} of the index can be written by everybody", hint=own
        )
    try:
        owner = os.lstat(path).st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise Misconfigured(
            f"the index {path} belongs to another account",
            hint="Remove it: the service makes one of its own.",
        )


def keep_index(settings: Settings) -> None:
    """Keep the index up to date, for ever. What fails is logged."""
    if (index := index_of(settings)) is None:
        return
    keeper = IndexUpdater(Registry(settings.registry), index)
    while True:
        try:
            keeper.look()
        except (UnusableIndex, GobblerError, OSError) as error:
            logger.warning("the index %s could not be brought up to date: %s", index.path, error)
        time.sleep(LOOK_EVERY)
