"""The index of a registry, brought up to date before each answer.

Before each answer, the index compares the fingerprints of all manifests with those that it has
recorded, and reads the manifests that differ. So it misses no change, and needs no notification.

:class:`IndexUpdater` does the same in the background, so that a query finds little left to read.
Answers are correct without it, too.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import UNSET

from gobbler.errors import Fault, GobblerError, Missing
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.record_file import read_file
from gobbler.index.database import (
    DamagedIndex,
    Database,
    Facts,
    Tables,
    UnusableIndex,
    packed,
    packed_fingerprint,
    reading,
    writing,
)
from gobbler.model.names import LOGS, VersionKey
from gobbler.model.records import LogEntry, Manifest, decode, decode_manifest
from gobbler.registry.registry import Registry

T = TypeVar("T")

Follow = Callable[[int, int], None]
"""Called with the number of manifests that were read and their total; it may raise."""

INDEX_ATTEMPTS = 5
"""Attempts to read a registry that keeps changing."""

PATIENCE = 10.0
"""Seconds to wait until an index is free to be rebuilt."""

ROWS = 50_000
"""Rows to write at a time, while others wait."""

logger = logging.getLogger(__name__)


class Index:
    """The index of ``registry`` in the file ``path``, which is created if it is missing.

    May be shared between threads, and used by any number of processes at a time.
    """

    def __init__(self, path: str, registry: Registry) -> None:
        self.path = path
        self._registry = registry
        self._database = Database(path, registry.root)

    def ask(
        self,
        question: Callable[[Tables, Mapping[VersionKey, Fingerprint]], T],
        *within: str,
        follow: Follow,
    ) -> T:
        """Bring the index up to date, and return the answer to ``question``.

        ``question`` gets the tables, and the fingerprints of the manifests that they reflect.
        ``within``: a project, or a project and an asset; only that part is brought up to date. A
        damaged file is set aside and rebuilt. Raises
        :class:`~gobbler.index.database.UnusableIndex`, ``OSError`` if the registry can't be read,
        and what ``question`` and ``follow`` raise.
        """
        inode = self._database.inode()
        try:
            return self._ask(question, within, follow)
        except DamagedIndex as error:
            if not self._database.set_aside(inode):
                raise
            logger.warning("rebuilding the index %s: %s", self.path, error)
        return self._ask(question, within, follow)

    def probe(self) -> None:
        """Create the file if it is missing; a damaged one is left to :meth:`ask`.

        Raises :class:`~gobbler.index.database.UnusableIndex`.
        """
        with self._database.connected():
            pass

    def bring_up_to_date(self, *within: str, follow: Follow) -> None:
        """Read what has changed; raises like :meth:`ask`."""
        self.ask(lambda *_: None, *within, follow=follow)

    def rebuild(self, follow: Follow) -> None:
        """Rebuild the index; raises like :meth:`ask`. Meanwhile it can't be used."""
        deadline = time.monotonic() + PATIENCE
        while (inode := self._database.inode()) and not self._database.set_aside(inode):
            if time.monotonic() > deadline:
                raise UnusableIndex(
                    f"other processes have been using it for {PATIENCE:g} seconds; try again later"
                )
            time.sleep(0.05)
        self.bring_up_to_date(follow=follow)

    def status(self) -> dict[str, int]:
        """Count the indexed versions, links between versions and contents, and the versions that
        must be read again or removed (``behind``). Changes nothing.
        """
        if not os.path.exists(self.path):
            raise UnusableIndex("there is no such file yet")
        with self._database.connected() as connection, reading(connection) as tables:
            known, wanted = tables.fingerprints(()), _packed(self._registry.fingerprints())
            behind = sum(1 for path in {*known, *wanted} if known.get(path) != wanted.get(path))
            return {**tables.counts(), "behind": behind}

    def _ask(
        self,
        question: Callable[[Tables, Mapping[VersionKey, Fingerprint]], T],
        within: Sequence[str],
        follow: Follow,
    ) -> T:
        with self._database.connected() as connection:
            for _ in range(INDEX_ATTEMPTS):
                fingerprints = self._registry.fingerprints(*within)
                wanted = _packed(fingerprints)
                # One transaction, so the answer is about the state that was compared.
                with reading(connection) as tables:
                    known = tables.fingerprints(within)
                    if known == wanted:
                        return question(tables, fingerprints)
                changed = [key for key in fingerprints if _differs(key, known, wanted)]
                for batch in self._read(changed, fingerprints, follow):
                    with writing(connection) as tables:
                        for facts in batch:
                            tables.learn(facts)
                with writing(connection) as tables:
                    for path in known.keys() - wanted.keys():
                        tables.forget(path)
            raise UnusableIndex("the registry changes faster than the index")

    def _read(
        self,
        keys: Sequence[VersionKey],
        fingerprints: Mapping[VersionKey, Fingerprint],
        follow: Follow,
    ) -> Iterator[list[Facts]]:
        """Read the manifests of ``keys``; yields their facts in batches, and holds no lock."""
        batch: list[Facts] = []
        weight = 0
        for number, key in enumerate(keys):
            follow(number, len(keys))
            try:
                fingerprint, data = self._registry.manifest_with_fingerprint(key)
                facts = Facts.of(key, fingerprint, _readable(data, key))
            except Missing:
                continue  # it was removed meanwhile
            except Fault:
                facts = Facts.of(key, fingerprints[key], None)
            batch.append(facts)
            weight += batch[-1].weight
            if weight >= ROWS:
                yield batch
                batch, weight = [], 0
        yield batch
        follow(len(keys), len(keys))


def _readable(data: bytes, key: VersionKey) -> Manifest | None:
    try:
        return decode_manifest(data, key.manifest)
    except Fault:
        return None


def _packed(fingerprints: Mapping[VersionKey, Fingerprint]) -> dict[bytes, str]:
    return {
        packed(key.path): packed_fingerprint(fingerprint)
        for key, fingerprint in fingerprints.items()
    }


def _differs(key: VersionKey, known: Mapping[bytes, str], wanted: Mapping[bytes, str]) -> bool:
    path = packed(key.path)
    return known.get(path) != wanted[path]


MANY_VERSIONS = 100
"""Number of changed projects and assets from which the whole registry is read."""


class IndexUpdater:
    """Follows the log of a ``registry``, to which all its services write."""

    def __init__(self, registry: Registry, index: Index) -> None:
        self._registry = registry
        self._index = index
        self._seen: set[str] | None = None

    def update(self) -> None:
        """Bring the index up to date: all of it at first, then what the log names.

        Raises what :meth:`~gobbler.index.index.Index.ask` raises, or ``OSError``; the next call
        tries again.
        """
        names = set(os.listdir(self._registry.path(LOGS)))
        places = {()} if self._seen is None else self._changed(names - self._seen)
        if len(places) > MANY_VERSIONS:
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
            except (GobblerError, OSError):
                continue  # damaged, or removed since
            asset = () if entry.asset is UNSET else (entry.asset,)
            places.add((entry.project, *asset))
        return places
