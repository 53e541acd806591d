"""The file of a ledger: an SQLite database that threads and processes share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from gobbler.client.notices import StepFailed, notify_once
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.mounts import reports_all_changes

BUSY_SECONDS = 60.0
"""Seconds to wait for another process that writes."""


class StateFile:
    """The file at ``path`` with ``tables``, created if it is missing; threads may share it.

    A damaged file is set aside, with a warning; its path is ``aside`` then. Raises
    :class:`~gobbler.errors.Fault` if the file can't be used, or has a later ``version``.
    """

    def __init__(self, path: str, tables: str, version: int) -> None:
        self.path = path
        self.aside = ""
        self._tables = tables
        self._version = version
        self._lock = threading.RLock()
        with self._errors():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            # Of several processes that find it damaged, one sets it aside; not the new one, too.
            with _locked(f"{path}.lock"):
                self._connection = self._open_or_replace()

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise  # it can't be used now, but need not be damaged
        except sqlite3.DatabaseError as error:
            aside = f"{self.path}.damaged-{time.time_ns()}"
            for part in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.path + part, aside + part)
            self.aside = aside
            why = " ".join(str(error).split())
            notify_once(
                f"{quoted(self.path)} is damaged ({why}): set aside as {quoted(aside)}; earlier "
                "runs are forgotten, except for the problems that it still tells",
                StepFailed,
            )
            return self._open()

    def _open(self) -> sqlite3.Connection:
        # It names what is in the registry, which not everybody may read.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # WAL makes changes cheap, but only processes of one host can share it.
            mode = "WAL" if reports_all_changes(self.path) else "TRUNCATE"
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.execute("PRAGMA synchronous=NORMAL")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > self._version:
                raise Fault(
                    f"results can't be recorded in {quoted(self.path)}: a newer version of gobbler "
                    "made it",
                    code=Code.MISCONFIGURED,
                    hint="Set XDG_STATE_HOME to another directory.",
                )
            connection.executescript(
                f"BEGIN IMMEDIATE; {self._tables} PRAGMA user_version={self._version}; COMMIT;"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The rows that ``query`` finds."""
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def change(self, statement: str, *values: object) -> int:
        """Make one change, also within a :meth:`transaction`; return the number of a new row."""
        with self.transaction():
            return self._connection.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Reads and changes that take effect together, or not at all."""
        with self._errors():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Hold the lock, and raise errors of the file as ours, with a hint."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise Fault(
                    f"results can't be recorded in {quoted(self.path)}: {why}",
                    code=Code.IO_ERROR,
                    hint="Repair or remove the file, or set XDG_STATE_HOME to another directory.",
                ) from error


def readable_rows(path: str, *queries: str) -> list[tuple[object, ...]]:
    """The rows that can be read of a file that is damaged, or may not be written. Never fails.

    Each of the ``queries`` reads up to the first damage, so they had better differ in their order.
    """
    found: dict[tuple[object, ...], None] = {}
    for mode in ("mode=ro", "immutable=1"):  # the second needs no file beside it
        for query in queries:
            with contextlib.suppress(sqlite3.Error):
                connection = sqlite3.connect(f"file:{urllib.parse.quote(path)}?{mode}", uri=True)
                # What is damaged may hold bytes that are no text.
                connection.text_factory = lambda data: data.decode(errors="replace")
                with contextlib.closing(connection):
                    connection.execute("PRAGMA writable_schema=ON")  # else a short file is refused
                    for row in connection.execute(query):
                        found[row] = None
        if found:
            break
    return list(found)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock file ``path``; only one process at a time is in such a block."""
    with Path(path).open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
