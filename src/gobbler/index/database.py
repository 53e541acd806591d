"""The SQLite file of the index, and the queries and updates of its tables.

::

    FILE                the database; beside it, SQLite's own FILE-wal and FILE-shm
    FILE.lock           locked shared while the file is open, exclusively to set it aside
    FILE.spoilt         the last file that was set aside because it was damaged

Any number of threads and processes use it at the same time. It is opened for
each use and closed again, so a process may fork, or someone may remove the file, between two uses.

Names are stored as bytes, since names of directories need not be UTF-8. ``is_odd`` marks an
unindexable version: its manifest can't be read, or does not fit into these tables. It has no other
rows.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.fingerprint import Fingerprint
from gobbler.fs.lock import try_lock
from gobbler.fs.open import closing
from gobbler.model.answers import Shared
from gobbler.model.names import VersionKey
from gobbler.model.records import Manifest
from gobbler.rules.dedup import Content, contents_of
from gobbler.rules.links import versions_linked

INDEX_BUSY_SECONDS = 5.0
"""Seconds to wait for another process that writes."""

SCHEMA = 1
"""Version of the tables below; a file with another one is rebuilt."""

_TABLES = """
CREATE TABLE registry (path BLOB NOT NULL);
CREATE TABLE version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    stamp TEXT NOT NULL,
    is_odd INTEGER NOT NULL
);
CREATE TABLE link (
    target BLOB NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (target, source)
) WITHOUT ROWID;
CREATE INDEX link_by_source ON link (source);
CREATE TABLE content (
    md5 BLOB NOT NULL, size INTEGER NOT NULL, linked INTEGER NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (md5, size, linked, version)
) WITHOUT ROWID;
CREATE INDEX content_by_version ON content (version);
"""


class UnusableIndex(Exception):
    """The index can't be used now. Everything works without it."""


class DamagedIndex(UnusableIndex):
    """The file is damaged, or not an index of this version."""


class ForeignIndex(UnusableIndex):
    """The file is the index of another registry."""


class Database:
    """The index in the file ``path`` of the registry in the directory ``root``."""

    def __init__(self, path: str, root: str) -> None:
        self.path = path
        self._root = os.fsencode(os.path.realpath(root))

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection for the calling thread, to a database whose tables are there.

        The caller begins transactions. Raises :class:`UnusableIndex`, also for errors of SQLite
        within the block.
        """
        with self._lock(fcntl.LOCK_SH) as free:
            if not free:
                raise UnusableIndex("another process rebuilds it")
            connection = None
            try:
                connection = sqlite3.connect(
                    self.path,
                    timeout=INDEX_BUSY_SECONDS,
                    isolation_level=None,
                    check_same_thread=True,
                )
                self._prepare(connection)
                yield connection
            except sqlite3.ProgrammingError:
                raise  # a bug
            except sqlite3.Error as error:
                raise _translated(error) from error
            finally:
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()

    def set_aside(self, inode: int) -> bool:
        """Set the file ``inode`` aside; ``False`` if it is in use, or replaced already."""
        with self._lock(fcntl.LOCK_EX) as free:
            if not free or self.inode() != inode:
                return False
            os.replace(self.path, f"{self.path}.spoilt")
            for ending in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(self.path + ending)
            return True

    def inode(self) -> int:
        """The inode of the file; 0 if there is none."""
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return 0

    @contextmanager
    def _lock(self, operation: int) -> Iterator[bool]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(f"{self.path}.lock", flags, PRIVATE_FILE_MODE)
        except OSError as error:
            raise UnusableIndex(f"{self.path}.lock can't be opened: {error.strerror}") from error
        with closing(descriptor):
            yield try_lock(descriptor, operation)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _schema(connection) == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if _schema(connection) == 0:  # otherwise another process has made them
                self._make_tables(connection)
            connection.execute("COMMIT")
        # After a power cut the last changes may be missing, which is noticed.
        connection.execute("PRAGMA synchronous = NORMAL")
        if (found := _schema(connection)) != SCHEMA:
            raise DamagedIndex(f"it has format version {found}, not {SCHEMA}")
        rows = connection.execute("SELECT path FROM registry").fetchall()
        if rows != [(self._root,)]:
            other = os.fsdecode(rows[0][0]) if rows else "none"
            raise ForeignIndex(f"it is the index of another registry: {other}")

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise DamagedIndex("it is a database of something else")
        for statement in _TABLES.strip().split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO registry VALUES (?)", (self._root,))
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _schema(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


_SQLITE_ERROR = 1
"""SQLite's number for an error in a statement."""


def _translated(error: sqlite3.Error) -> UnusableIndex:
    # A full disk, a held lock or an unreadable file says nothing about the content.
    is_outside = isinstance(error, sqlite3.OperationalError) and not _is_about_content(error)
    return UnusableIndex(str(error)) if is_outside else DamagedIndex(str(error))


def _is_about_content(error: sqlite3.OperationalError) -> bool:
    if sys.version_info >= (3, 11):
        # Text that is not UTF-8 is an error of Python's, which has no number.
        return getattr(error, "sqlite_errorcode", _SQLITE_ERROR) == _SQLITE_ERROR
    # Python 3.10 passes on nothing of SQLite's but its message.
    return str(error).startswith(("no such", "Could not decode"))


_MAX_SIZE = 2**63 - 1
"""Largest size of a file, in bytes, that SQLite can store."""


class Facts(NamedTuple):
    """The content of one manifest; ``contents`` is ``None`` if it can't be indexed."""

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


def packed_fingerprint(fingerprint: Fingerprint) -> str:
    """A fingerprint as it is stored: inodes may be too large for an SQLite integer."""
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

    def unindexable(self) -> list[VersionKey]:
        """The versions whose manifests must be read for any answer."""
        found = self._connection.execute("SELECT path FROM version WHERE is_odd")
        return [_key(path) for (path,) in found]

    def linking_into(self, chosen: Collection[VersionKey]) -> set[VersionKey]:
        """The versions with a link that names one of ``chosen``."""
        found: set[bytes] = set()
        query = (
            "SELECT version.path FROM link JOIN version ON version.id = link.source "
            "WHERE link.target = ?"
        )
        for key in chosen:
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
        if self._connection.execute(query, (path,)).fetchone() == (
            packed_fingerprint(facts.fingerprint),
        ):
            return  # another process has stored it meanwhile
        self.forget(path)
        cursor = self._connection.execute(
            "INSERT INTO version (path, stamp, is_odd) VALUES (?, ?, ?)",
            (path, packed_fingerprint(facts.fingerprint), facts.contents is None),
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
