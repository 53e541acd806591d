"""The SQLite file of the index: opened for each use, and set aside if it is damaged.

::

    FILE                the database; beside it, SQLite's own FILE-wal and FILE-shm
    FILE.lock           locked shared while the file is open, exclusively to set it aside
    FILE.spoilt         the last file that was set aside

Any number of threads and processes use it at the same time. Nothing is kept open between
two uses, so a process may be forked, or the file removed, at any moment between them.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gobbler.fs.atomic_write import PRIVATE_FILE_MODE
from gobbler.fs.lock import try_lock
from gobbler.fs.open import closing

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

        Transactions are up to the caller. Raises :class:`UnusableIndex`, also for what SQLite
        raises within the block.
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
            raise DamagedIndex(f"it is of another version ({found}, not {SCHEMA})")
        rows = connection.execute("SELECT path FROM registry").fetchall()
        if rows != [(self._root,)]:
            told = os.fsdecode(rows[0][0]) if rows else "none"
            raise ForeignIndex(f"it is the index of another registry: {told}")

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
