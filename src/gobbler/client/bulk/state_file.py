"""An SQLite file in the user's state directory that several processes may use at a time.

What was written survives the end of the process at any moment; after a power cut the last
moments may be missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gobbler.errors import Fault, quoted
from gobbler.fs.mounts import reports_all_changes

BUSY_SECONDS = 60.0
"""For how long another process may be writing."""

logger = logging.getLogger(__name__)


class StateFile:
    """The file at ``path`` with ``tables``, made if it is not there; for several threads.

    One that is damaged is set aside, with a warning in the log. Raises
    :class:`~gobbler.errors.Fault` where none can be kept, or one of a later ``form`` is there.
    """

    def __init__(self, path: str, tables: str, form: int) -> None:
        self.path = path
        self._tables = tables
        self._form = form
        self._lock = threading.RLock()
        with self.explained():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            # So that of several who find it damaged one sets it aside, and not the new one.
            with _alone(f"{path}.lock"):
                self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise  # it can't be used now, which does not mean that it is damaged
        except sqlite3.DatabaseError as error:
            aside = f"{self.path}.damaged-{time.time_ns()}"
            for part in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.path + part, aside + part)
            logger.warning(
                "what was known of earlier runs is damaged (%s) and was set aside as %s",
                error,
                aside,
            )
            return self._open()

    def _open(self) -> sqlite3.Connection:
        # Nobody else needs to know what is in a registry that not all may read.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # A log beside the file makes changes cheap, but only one host's processes share it.
            mode = "WAL" if reports_all_changes(self.path) else "TRUNCATE"
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.execute("PRAGMA synchronous=NORMAL")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            (form,) = connection.execute("PRAGMA user_version").fetchone()
            if form > self._form:
                raise sqlite3.OperationalError("it was made by a newer version of gobbler")
            connection.executescript(
                f"BEGIN IMMEDIATE; {self._tables} PRAGMA user_version={self._form}; COMMIT;"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Use it no more."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """What ``query`` finds."""
        with self.explained():
            return self._connection.execute(query, values).fetchall()

    def change(self, statement: str, *values: object) -> int:
        """Make one change, at once or as a part of :meth:`together`; the row that was added."""
        with self.together():
            return self._connection.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Several reads and changes with nobody else's between them: all are kept, or none."""
        with self.explained():
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
    def explained(self) -> Iterator[None]:
        """Turn errors of the file into ours, with a hint."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                raise Fault(
                    f"what was done can't be kept in {quoted(self.path)}: {error}",
                    hint="Mend that, or set XDG_STATE_HOME to another directory of yours.",
                ) from error


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Nobody else is within such a block of the same ``path``."""
    with Path(path).open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
