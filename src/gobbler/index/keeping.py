"""Keeping an index up to date, so that whoever asks need not wait until much has been read.

That is for speed alone: an answer of the index is right without it.
"""

from __future__ import annotations

import os

from msgspec import UNSET

from gobbler.disk.opening import read_file
from gobbler.errors import GobblerError
from gobbler.index.index import Index
from gobbler.names import LOGS
from gobbler.records import LogEntry, decode
from gobbler.registry import Registry

MANY = 100
"""Projects and assets that have changed, from which on all versions are looked at."""


class Keeper:
    """Follows the log of a ``registry``, which every service of it writes."""

    def __init__(self, registry: Registry, index: Index) -> None:
        self._registry = registry
        self._index = index
        self._seen: set[str] | None = None

    def look(self) -> None:
        """Bring up to date what has changed: all at first, then what the log names.

        Raises what :meth:`~gobbler.index.index.Index.ask` raises, or ``OSError``; the same
        is tried again the next time.
        """
        names = set(os.listdir(self._registry.path(LOGS)))
        places = {()} if self._seen is None else self._changed(names - self._seen)
        if len(places) > MANY:
            places = {()}
        for place in sorted(places):
            self._index.bring_up_to_date(*place, follow=lambda *_: None)
        self._seen = names

    def _changed(self, names: set[str]) -> set[tuple[str, ...]]:
        places: set[tuple[str, ...]] = set()
        for name in names:
            where = f"{LOGS}/{name}"
            try:
                entry = decode(read_file(self._registry.path(where), where), LogEntry, where)
            except GobblerError:
                continue  # damaged, or removed since
            asset = () if entry.asset is UNSET else (entry.asset,)
            places.add((entry.project, *asset))
        return places
