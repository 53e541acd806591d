"""Queries and updates of the tables of an index.

Names are kept as bytes, since those of directories need not be UTF-8. ``is_odd`` marks the
version whose manifest can't be read, or not be told in these tables: it has no other rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from gobbler.fs.fingerprint import Fingerprint
from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest
from gobbler.rules.dedup import Content, contents_of
from gobbler.rules.links import versions_linked

_MAX_SIZE = 2**63 - 1
"""Largest size of a file, in bytes, that SQLite can store."""


class Facts(NamedTuple):
    """The content of one manifest; ``contents`` is ``None`` if the manifest is odd."""

    key: VersionKey
    fingerprint: Fingerprint
    links: set[VersionKey]
    contents: dict[Content, bool] | None

    @classmethod
    def of(cls, key: VersionKey, fingerprint: Fingerprint, manifest: Manifest | None) -> Facts:
        """The facts of a ``manifest``, ``None`` if it can't be read."""
        if manifest is None or any(entry.size > _MAX_SIZE for entry in manifest.values()):
            return cls(key, fingerprint, set(), None)
        return cls(key, fingerprint, versions_linked(manifest), contents_of(manifest))

    @property
    def weight(self) -> int:
        """Number of rows."""
        return 1 + len(self.links) + len(self.contents or ())


def packed(path: str) -> bytes:
    """A name or path as it is stored."""
    return path.encode("utf-8", "surrogatepass")


def _key(path: bytes) -> VersionKey:
    return VersionKey(*path.decode("utf-8", "surrogatepass").split("/"))


def told(fingerprint: Fingerprint) -> str:
    """A fingerprint as it is stored: inodes may be too large for a number of SQLite."""
    return "{}:{}:{}".format(*fingerprint)


class Tables:
    """The tables behind a ``connection``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fingerprints(self, within: Sequence[str]) -> dict[bytes, str]:
        """The fingerprints of the versions in a project or an asset, or of all, by path."""
        condition, values = _within("path", within)
        query = f"SELECT path, stamp FROM version WHERE {condition}"  # noqa: S608 - our own words
        return dict(self._connection.execute(query, values))

    def odd(self) -> list[VersionKey]:
        """The versions whose manifests must be read for any answer."""
        found = self._connection.execute("SELECT path FROM version WHERE is_odd")
        return [_key(path) for (path,) in found]

    def linking_into(self, doomed: Collection[VersionKey]) -> set[VersionKey]:
        """The versions with a link that names one of ``doomed``."""
        found: set[bytes] = set()
        query = (
            "SELECT version.path FROM link JOIN version ON version.id = link.source "
            "WHERE link.target = ?"
        )
        for key in doomed:
            found.update(path for (path,) in self._connection.execute(query, (packed(key.path),)))
        return {_key(path) for path in found}

    def shared_with(self, key: VersionKey) -> list[Shared]:
        """The other versions with contents of ``key``, except empty ones."""
        query = """
            SELECT version.path, count(*), sum(size), sum(CASE WHEN linked THEN 0 ELSE size END)
            FROM (
                SELECT other.version AS version, other.size AS size, min(other.linked) AS linked
                FROM (
                    SELECT DISTINCT md5, size FROM content
                    WHERE version = (SELECT id FROM version WHERE path = ?) AND size > 0
                ) AS own
                JOIN content AS other ON other.md5 = own.md5 AND other.size = own.size
                GROUP BY other.version, other.md5, other.size
            ) JOIN version ON version.id = version
            WHERE version.path <> ?
            GROUP BY version.path
        """
        path = packed(key.path)
        rows = self._connection.execute(query, (path, path)).fetchall()
        return [Shared(_key(path).path, files, size, stored) for path, files, size, stored in rows]

    def holding(
        self,
        contents: Iterable[Content],
        within: Sequence[str],
        is_wanted: Callable[[VersionKey], bool],
    ) -> Iterator[tuple[Content, VersionKey]]:
        """For each of ``contents`` a wanted version with it, if there is one.

        Versions that store it come before versions that link to it.
        """
        condition, values = _within("version.path", within)
        query = (
            "SELECT version.path FROM content JOIN version ON version.id = content.version "  # noqa: S608 - our own words
            f"WHERE md5 = ? AND content.size = ? AND {condition} ORDER BY linked, content.version"
        )
        for size, md5sum in contents:
            if size > _MAX_SIZE:
                continue
            rows = self._connection.execute(query, (bytes.fromhex(md5sum), size, *values))
            for (path,) in rows:
                if is_wanted(key := _key(path)):
                    yield (size, md5sum), key
                    break

    def forget(self, path: bytes) -> None:
        """Remove the version at ``path``."""
        query = "SELECT id FROM version WHERE path = ?"
        for row in self._connection.execute(query, (path,)).fetchall():
            self._connection.execute("DELETE FROM link WHERE source = ?", row)
            self._connection.execute("DELETE FROM content WHERE version = ?", row)
            self._connection.execute("DELETE FROM version WHERE id = ?", row)

    def learn(self, facts: Facts) -> None:
        """Store the ``facts`` of a version in place of earlier ones."""
        path = packed(facts.key.path)
        query = "SELECT stamp FROM version WHERE path = ?"
        if self._connection.execute(query, (path,)).fetchone() == (told(facts.fingerprint),):
            return  # another process has stored it meanwhile
        self.forget(path)
        cursor = self._connection.execute(
            "INSERT INTO version (path, stamp, is_odd) VALUES (?, ?, ?)",
            (path, told(facts.fingerprint), facts.contents is None),
        )
        number = cursor.lastrowid
        self._connection.executemany(
            "INSERT OR IGNORE INTO link VALUES (?, ?)",
            ((packed(target.path), number) for target in facts.links),
        )
        self._connection.executemany(
            "INSERT INTO content VALUES (?, ?, ?, ?)",
            (
                (bytes.fromhex(md5sum), size, linked, number)
                for (size, md5sum), linked in sorted((facts.contents or {}).items())
            ),
        )

    def counts(self) -> dict[str, int]:
        """Number of rows of each table."""
        return {
            f"{table}s": self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own words
            for table in ("version", "link", "content")
        }


def _within(column: str, names: Sequence[str]) -> tuple[str, tuple[bytes, ...]]:
    if not names:
        return "1", ()
    path = packed("/".join(names))
    return f"{column} > ? AND {column} < ?", (path + b"/", path + b"0")  # "0" follows "/"


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[Tables]:
    """The tables in one transaction, which other writers do not affect."""
    connection.execute("BEGIN")
    try:
        yield Tables(connection)
    finally:
        if connection.in_transaction:  # some errors end it
            connection.execute("ROLLBACK")


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[Tables]:
    """The tables in one transaction, which is committed as a whole."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield Tables(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
