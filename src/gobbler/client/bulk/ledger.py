"""What was done with the versions of a registry, kept on the side of the one who asked.

::

    {user's state directory}/gobbler/registries/
        {digest of address and registry}.sqlite     the ledger
        {the same}.sqlite.lock                      held while it is opened
        {the same}.sqlite.runs/{token}              a command that is at work

It is no part of the registry, and nothing is wrong if it is lost: then no version was ever
verified.


Commands that are at work on one registry at the same time, and don't do the same twice.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import platformdirs

from gobbler.client.bulk.state_file import StateFile
from gobbler.client.paths import digest
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.model.names import VersionKey

FORMAT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS about (url TEXT, registry TEXT, PRIMARY KEY (url, registry));
CREATE TABLE IF NOT EXISTS verified (
    project TEXT, asset TEXT, version TEXT, stamp TEXT NOT NULL, finished REAL NOT NULL,
    seconds REAL NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    problems TEXT NOT NULL, PRIMARY KEY (project, asset, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, scope TEXT NOT NULL,
    begun REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS done (run INTEGER, task TEXT, PRIMARY KEY (run, task)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    action TEXT, task TEXT, holder TEXT NOT NULL, PRIMARY KEY (action, task)
) WITHOUT ROWID;
"""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What came of verifying a version: of which one, when, and what is wrong with it."""

    stamp: str
    finished: float
    seconds: float
    files: int
    bytes: int
    problems: tuple[str, ...]


class Run(NamedTuple):
    """A sweep that was begun (in seconds since the epoch), and may have been broken off."""

    id: int
    begun: float


def ledger_path(url: str | None, registry: str) -> str:
    """Where the ledger of a registry is, as the service at ``url`` (if any) tells of it."""
    name = digest(f"{url or ''}\n{registry}")
    return os.path.join(platformdirs.user_state_dir("gobbler"), "registries", f"{name}.sqlite")


class Ledger:
    """The ledger of the registry of a service; see :class:`StateFile` for what may be wrong."""

    def __init__(self, url: str | None, registry: str) -> None:
        self._file = StateFile(ledger_path(url, registry), _TABLES, FORMAT)
        self.path = self._file.path
        self.together = self._file.together
        known = self._file.rows("SELECT 1 FROM about")
        if not known:
            self._file.change("INSERT OR REPLACE INTO about VALUES (?,?)", url or "", registry)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    # Versions

    def verified(self) -> dict[VersionKey, Kept]:
        """What came of verifying each version the last time."""
        rows = self._file.rows("SELECT * FROM verified")
        return {VersionKey(*map(str, row[:3])): _kept(row[3:]) for row in rows}

    def verified_at(self, key: VersionKey) -> float | None:
        """When a version was verified the last time, if ever."""
        rows = self._file.rows(
            "SELECT finished FROM verified WHERE project=? AND asset=? AND version=?",
            *(key.project, key.asset, key.version),
        )
        return msgspec.convert(rows[0][0], float) if rows else None

    def keep(self, key: VersionKey, kept: Kept) -> None:
        """Know what came of verifying a version."""
        self._file.change(
            "INSERT OR REPLACE INTO verified VALUES (?,?,?,?,?,?,?,?,?)",
            *(key.project, key.asset, key.version),
            *(kept.stamp, kept.finished, kept.seconds, kept.files, kept.bytes),
            msgspec.json.encode(kept.problems).decode(),
        )

    def forget(self, key: VersionKey) -> None:
        """Know nothing of a version any more."""
        self._file.change(
            "DELETE FROM verified WHERE project=? AND asset=? AND version=?",
            *(key.project, key.asset, key.version),
        )

    # Runs

    def unfinished(self, action: str, scope: str) -> Run | None:
        """The sweep of ``scope`` that was begun and has not ended."""
        rows = self._file.rows(
            "SELECT id, begun FROM runs WHERE action=? AND scope=? ORDER BY id DESC LIMIT 1",
            *(action, scope),
        )
        return msgspec.convert(rows[0], Run) if rows else None

    def begin(self, action: str, scope: str, *, restart: bool) -> Run:
        """Go on with the sweep of ``scope``, or begin one; with ``restart`` in any case."""
        with self.together():
            found = self.unfinished(action, scope)
            if found is not None and not restart:
                return found
            if found is not None:
                self.end(found)
            begun = time.time()
            statement = "INSERT INTO runs (action, scope, begun) VALUES (?,?,?)"
            return Run(self._file.change(statement, action, scope, begun), begun)

    def done(self, run: Run) -> set[str]:
        """The tasks of a run that are done."""
        return {
            str(task) for (task,) in self._file.rows("SELECT task FROM done WHERE run=?", run.id)
        }

    def is_done(self, run: Run, task: str) -> bool:
        """Whether a task of a run is done."""
        return bool(self._file.rows("SELECT 1 FROM done WHERE run=? AND task=?", run.id, task))

    def finish(self, run: Run, task: str) -> None:
        """Know that a task of a run is done."""
        self._file.change("INSERT OR IGNORE INTO done VALUES (?,?)", run.id, task)

    def end(self, run: Run) -> None:
        """Know that all of a run is done."""
        with self.together():
            self._file.change("DELETE FROM done WHERE run=?", run.id)
            self._file.change("DELETE FROM runs WHERE id=?", run.id)

    # Claims

    def holders(self) -> set[str]:
        """Whoever has claimed something."""
        return {str(one) for (one,) in self._file.rows("SELECT DISTINCT holder FROM claims")}

    def claim(self, action: str, task: str, holder: str) -> str:
        """Claim a task for ``holder`` unless somebody has; whose it is."""
        with self.together():
            query = "SELECT holder FROM claims WHERE action=? AND task=?"
            if rows := self._file.rows(query, action, task):
                return str(rows[0][0])
            self._file.change("INSERT INTO claims VALUES (?,?,?)", action, task, holder)
            return holder

    def release(self, holder: str, task: str | None = None) -> None:
        """Give up what ``holder`` has claimed: a task, or all."""
        if task is None:
            self._file.change("DELETE FROM claims WHERE holder=?", holder)
        else:
            self._file.change("DELETE FROM claims WHERE holder=? AND task=?", holder, task)


def _kept(values: tuple[object, ...]) -> Kept:
    problems = msgspec.json.decode(str(values[-1]), type=tuple[str, ...])
    return msgspec.convert((*values[:-1], problems), Kept)


class Attendance:
    """This process, as others that use the same ledger see it; made by :func:`attending`."""

    def __init__(self, ledger: Ledger, directory: str, name: str, lease: Lease) -> None:
        self._ledger = ledger
        self._directory = directory
        self.name = name
        self._presence = lease

    def renew(self) -> None:
        """Show other hosts, now and then, that we are still at work."""
        self._presence.renew()

    def claim(self, action: str, task: str) -> bool:
        """Take a task, unless somebody who lives is at it."""
        holder = self._ledger.claim(action, task, self.name)
        if holder != self.name and self._is_gone(holder):
            self._ledger.release(holder)
            holder = self._ledger.claim(action, task, self.name)
        return holder == self.name

    def release_those_of_the_dead(self) -> None:
        """Give up what was claimed by commands that have ended otherwise than they should."""
        for holder in self._ledger.holders() - {self.name}:
            if self._is_gone(holder):
                self._ledger.release(holder)

    def _is_gone(self, holder: str) -> bool:
        path = os.path.join(self._directory, holder)
        left = take_over(path)
        if left is not None:
            left.release()
        return left is not None or not os.path.lexists(path)


@contextlib.contextmanager
def attending(ledger: Ledger) -> Iterator[Attendance]:
    """Be at work; what is claimed within is given up at the end of the block, or of the process."""
    directory = f"{ledger.path}.runs"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lease = None
    while lease is None:
        name = secrets.token_hex(8)
        lease = acquire(os.path.join(directory, name))
    try:
        attendance = Attendance(ledger, directory, name, lease)
        attendance.release_those_of_the_dead()
        yield attendance
    finally:
        try:
            ledger.release(name)
        finally:
            lease.release()
