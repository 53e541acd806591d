"""The ledger: what bulk runs have done, recorded in the state directory of the user.

::

    {user's state directory}/gobbler/registries/
        {digest of address and registry}.sqlite     the ledger
        {the same}.sqlite.lock                      locked while it is opened
        {the same}.sqlite.runs/{token}              the lease of a process that runs

It is not part of the registry. Without it every version counts as never validated, and nothing
else is lost. A change survives the end of the process at any moment; after a power cut the last
changes may be missing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gobbler.client.address import digest
from gobbler.client.bulk.state_file import StateFile, readable_rows
from gobbler.client.notices import StepFailed, notify_once
from gobbler.client.user_directories import state_directory, temporary_directory
from gobbler.errors import Code, Fault, quoted
from gobbler.fs.lease import Lease, acquire, take_over
from gobbler.model.names import VersionKey

LEDGER_FORMAT = 1

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


_VERIFIED = "SELECT * FROM verified ORDER BY project"


class ValidationRecord(msgspec.Struct, frozen=True, array_like=True):
    """One validation: of which version (its fingerprint), when it ended, and the problems found.

    ``code`` is that of the service's error; empty if there was none.
    """

    fingerprint: str
    finished: float
    seconds: float
    files: int
    bytes: int
    problems: tuple[str, ...]
    code: str = ""


class _Problems(msgspec.Struct):
    """The column ``problems``; a plain list where no code is known."""

    code: str
    problems: tuple[str, ...]


class RunRecord(NamedTuple):
    """A bulk run that was started (in seconds since the epoch) and may be unfinished."""

    id: int
    started: float


def ledger_path(url: str | None, registry: str) -> str:
    """The path of the ledger for ``registry``, as the service at ``url`` (if any) names it."""
    return _path(state_directory() or temporary_directory(), url, registry)


def _path(state: str, url: str | None, registry: str) -> str:
    name = digest(f"{url or ''}\n{registry}")
    return os.path.join(state, "registries", f"{name}.sqlite")


def _open_state(url: str | None, registry: str) -> StateFile:
    """The file of the ledger; in the temporary directory if the state directory can't be used."""
    path = ledger_path(url, registry)
    try:
        return StateFile(path, _TABLES, LEDGER_FORMAT)
    except Fault as error:
        instead = _path(temporary_directory(), url, registry)
        if error.code != Code.IO_ERROR or instead == path:
            raise
        notify_once(f"{error.reason}; recording in {quoted(instead)} instead", StepFailed)
        return StateFile(instead, _TABLES, LEDGER_FORMAT)


def _known_problems(path: str) -> dict[VersionKey, ValidationRecord]:
    """The versions with problems in a file that is damaged, or may not be written.

    It is not believed that the others were valid.
    """
    found = {}
    for row in readable_rows(path, f"{_VERIFIED} ASC", f"{_VERIFIED} DESC"):
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            record = _record(row[3:])
            if record.problems:
                found[VersionKey(*map(str, row[:3]))] = record
    return found


class Ledger:
    """The ledger of one registry.

    Raises :class:`~gobbler.errors.Fault` if it can't be used, see :class:`StateFile`.
    """

    def __init__(self, url: str | None, registry: str) -> None:
        self._file = _open_state(url, registry)
        self.path = self._file.path
        self.transaction = self._file.transaction
        known = self._file.rows("SELECT 1 FROM about")
        if not known:
            self._file.change("INSERT OR REPLACE INTO about VALUES (?,?)", url or "", registry)
        path = ledger_path(url, registry)
        if former := self._file.aside or (path if path != self.path else ""):
            self._take_over(_known_problems(former))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    # Validations

    def validations(self) -> dict[VersionKey, ValidationRecord]:
        """The last validation of each version."""
        rows = self._file.rows("SELECT * FROM verified")
        return {VersionKey(*map(str, row[:3])): _record(row[3:]) for row in rows}

    def validated_at(self, key: VersionKey) -> float | None:
        """The time of the last validation of a version, if there is one."""
        rows = self._file.rows(
            "SELECT finished FROM verified WHERE project=? AND asset=? AND version=?",
            *(key.project, key.asset, key.version),
        )
        return msgspec.convert(rows[0][0], float) if rows else None

    def _take_over(self, problems: Mapping[VersionKey, ValidationRecord]) -> None:
        known = self.validations()
        for key, record in problems.items():
            if key not in known or known[key].finished < record.finished:
                self.record(key, record)

    def record(self, key: VersionKey, record: ValidationRecord) -> None:
        """Record the last validation of a version."""
        self._file.change(
            "INSERT OR REPLACE INTO verified VALUES (?,?,?,?,?,?,?,?,?)",
            *(key.project, key.asset, key.version),
            *(record.fingerprint, record.finished, record.seconds, record.files, record.bytes),
            msgspec.json.encode(
                _Problems(record.code, record.problems) if record.code else record.problems
            ).decode(),
        )

    def forget(self, key: VersionKey) -> None:
        """Remove the record of a version."""
        self._file.change(
            "DELETE FROM verified WHERE project=? AND asset=? AND version=?",
            *(key.project, key.asset, key.version),
        )

    # Runs

    def unfinished_run(self, action: str, scope: str) -> RunRecord | None:
        """The run of ``action`` over ``scope`` that was started and has not ended."""
        rows = self._file.rows(
            "SELECT id, begun FROM runs WHERE action=? AND scope=? ORDER BY id DESC LIMIT 1",
            *(action, scope),
        )
        return msgspec.convert(rows[0], RunRecord) if rows else None

    def begin_run(self, action: str, scope: str, *, restart: bool) -> RunRecord:
        """Resume the unfinished run, or start one; with ``restart`` always start one."""
        with self.transaction():
            found = self.unfinished_run(action, scope)
            if found is not None and not restart:
                return found
            if found is not None:
                self.end_run(found)
            started = time.time()
            statement = "INSERT INTO runs (action, scope, begun) VALUES (?,?,?)"
            return RunRecord(self._file.change(statement, action, scope, started), started)

    def done_tasks(self, run: RunRecord) -> set[str]:
        """The tasks of a run that are done."""
        rows = self._file.rows("SELECT task FROM done WHERE run=?", run.id)
        return {str(task) for (task,) in rows}

    def is_done(self, run: RunRecord, task: str) -> bool:
        """Whether a task of a run is done."""
        return bool(self._file.rows("SELECT 1 FROM done WHERE run=? AND task=?", run.id, task))

    def mark_done(self, run: RunRecord, task: str) -> None:
        """Record that a task of a run is done."""
        self._file.change("INSERT OR IGNORE INTO done VALUES (?,?)", run.id, task)

    def end_run(self, run: RunRecord) -> None:
        """Record that all tasks of a run are done."""
        with self.transaction():
            self._file.change("DELETE FROM done WHERE run=?", run.id)
            self._file.change("DELETE FROM runs WHERE id=?", run.id)

    # Claims

    def holders(self) -> set[str]:
        """The processes that have claimed something."""
        return {str(one) for (one,) in self._file.rows("SELECT DISTINCT holder FROM claims")}

    def claim(self, action: str, task: str, holder: str) -> str:
        """Claim a task for ``holder`` unless it is claimed; return who holds it then."""
        with self.transaction():
            query = "SELECT holder FROM claims WHERE action=? AND task=?"
            if rows := self._file.rows(query, action, task):
                return str(rows[0][0])
            self._file.change("INSERT INTO claims VALUES (?,?,?)", action, task, holder)
            return holder

    def release(self, holder: str, task: str | None = None) -> None:
        """Release a task that ``holder`` has claimed, or all of them."""
        if task is None:
            self._file.change("DELETE FROM claims WHERE holder=?", holder)
        else:
            self._file.change("DELETE FROM claims WHERE holder=? AND task=?", holder, task)


def _record(values: tuple[object, ...]) -> ValidationRecord:
    found = msgspec.json.decode(str(values[-1]), type=tuple[str, ...] | _Problems)
    if not isinstance(found, _Problems):
        found = _Problems("", found)
    return msgspec.convert((*values[:-1], found.problems, found.code), ValidationRecord)


class Claims:
    """The tasks that this process has claimed, valid while it holds its lease.

    ``holder`` is the name of the process in the ledger. Made by :func:`hold_claims`.
    """

    def __init__(self, ledger: Ledger, directory: str, holder: str, lease: Lease) -> None:
        self._ledger = ledger
        self._directory = directory
        self.holder = holder
        self._lease = lease

    def renew(self) -> None:
        """Renew the lease, so that other hosts see that this process lives."""
        self._lease.renew()

    def claim(self, action: str, task: str) -> bool:
        """Claim a task; ``False`` if a process that lives has claimed it."""
        holder = self._ledger.claim(action, task, self.holder)
        if holder != self.holder and self._is_gone(holder):
            self._ledger.release(holder)
            holder = self._ledger.claim(action, task, self.holder)
        return holder == self.holder

    def release_those_of_the_dead(self) -> None:
        """Release the claims of processes that were killed."""
        for holder in self._ledger.holders() - {self.holder}:
            if self._is_gone(holder):
                self._ledger.release(holder)

    def _is_gone(self, holder: str) -> bool:
        path = os.path.join(self._directory, holder)
        lease = take_over(path)
        if lease is not None:
            lease.release()
        return lease is not None or not os.path.lexists(path)


@contextlib.contextmanager
def hold_claims(ledger: Ledger) -> Iterator[Claims]:
    """Hold a lease for claims, which are released at the end of the block or of the process."""
    directory = f"{ledger.path}.runs"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lease = None
    while lease is None:
        holder = secrets.token_hex(8)
        lease = acquire(os.path.join(directory, holder))
    try:
        claims = Claims(ledger, directory, holder, lease)
        claims.release_those_of_the_dead()
        yield claims
    finally:
        try:
            ledger.release(holder)
        finally:
            lease.release()
