"""Validating many versions: :meth:`Admin.validate_all`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from gobbler.client import errors
from gobbler.client.bulk.ledger import Claims, Ledger, ValidationRecord
from gobbler.client.bulk.run import (
    BulkProgress,
    BulkRequester,
    BulkRun,
    NoBulkProgress,
    TargetProgress,
    problems_in,
)
from gobbler.client.bulk.targets import (
    BulkService,
    StoredFiles,
    Targets,
    read_fingerprint,
    read_stored_files,
    registry_id,
)
from gobbler.client.parallel import Stop
from gobbler.client.registry_walk import SkippedEntry
from gobbler.errors import Code, Fault, Refused, quoted
from gobbler.fs.clock import time_at
from gobbler.model.names import VersionKey
from gobbler.rules.bulk import (
    Budget,
    Work,
    due,
    expected,
    may_still_hold,
    still_holds,
    takes_long,
)

SUMMARY_READERS = 8
"""Number of summaries to read at a time."""


class ValidationResult(Struct, frozen=True):
    """The result of validating a version: its ``problems``, a sentence each.

    ``finished`` is the end of the validation, ``seconds`` its duration. ``files`` and ``bytes``
    count the hashed files: links do not count, and both are 0 if the manifest can't be read.
    ``code`` is that of the service's error: ``damaged-record`` if reindexing can repair the
    version; empty if it is valid, or from a service without codes.
    """

    project: str
    asset: str
    version: str
    finished: dt.datetime
    seconds: float
    files: int
    bytes: int
    problems: tuple[str, ...]
    code: str = ""

    @property
    def address(self) -> str:
        """``project/asset/version``."""
        return "/".join(part for part in (self.project, self.asset, self.version) if part)

    @property
    def is_valid(self) -> bool:
        """Whether the version has no problem."""
        return not self.problems


def _invalid(found: SkippedEntry) -> ValidationResult:
    project, asset, version = (*found.names, "", "")[:3]
    now = time_at(time.time())
    return ValidationResult(project, asset, version, now, 0.0, 0, 0, (found.problem,))


def _result(key: VersionKey, record: ValidationRecord) -> ValidationResult:
    return ValidationResult(
        key.project,
        key.asset,
        key.version,
        time_at(record.finished),
        record.seconds,
        record.files,
        record.bytes,
        record.problems,
        record.code,
    )


class BulkValidation(BulkRun[ValidationResult]):
    """Validates the versions that are due while you iterate; see ``validate_all``.

    It may end while some are ``left``: if the budget is used up (``is_used_up``), or if other
    processes work on the rest; see also ``known_wrong``.
    """

    action = "validate"

    def __init__(
        self,
        service: BulkService,
        project: str,
        asset: str,
        *,
        since: dt.datetime | None,
        budget: Budget,
        restart: bool,
        parallel: int,
        retry_seconds: float,
        progress: BulkProgress | None,
    ) -> None:
        if since is not None and restart:
            raise Refused(
                "`since` and `restart` can't be combined",
                hint="Pass `since` to skip what was validated recently, or `restart` to "
                "validate all versions again.",
            )
        registry = registry_id(service)
        scope = "/".join(filter(None, (project, asset)))
        self._names = project, asset
        self._service = service
        self._requester = BulkRequester(service, progress or NoBulkProgress(), retry_seconds)
        self._budget = budget
        self._ends_run = since is None
        self._planned = time.time()
        targets = Targets(service, project, asset, self._requester.ask)
        versions = targets.versions()
        with Ledger(*registry) as ledger:
            is_new = restart or since is not None
            run = None if is_new else ledger.unfinished_run(self.action, scope)
            known = _in_scope(ledger.validations(), project, asset)
        if not restart:
            _check_mounted(versions, known)
        self._fingerprints = _read_fingerprints(
            service, self._requester, known.keys() & set(versions)
        )
        self._known = {
            key: record
            for key, record in known.items()
            if key in self._fingerprints and still_holds(record, self._fingerprints[key])
        }
        self._before = time.time() if run is None else run.started
        if since is not None:
            self._before = since.timestamp()
        keys = due(versions, known, self._fingerprints, self._before, time.time())
        self._keys = {key.path: key for key in keys}
        self._versions = frozenset(versions)
        self._wrong = self._wrong_in(known)
        self._told: set[str] = set()
        self._sizes = {key: self._known[key].bytes for key in keys if key in self._known}
        self._started_bytes = 0
        super().__init__(
            registry,
            list(self._keys),
            scope=scope,
            run=run,
            done_before=len(versions) - len(keys),
            invalid=[_invalid(each) for each in targets.skipped if each.is_wrong],
            skipped=targets.skipped,
            parallel=parallel,
            restart=restart,
            progress=progress,
        )

    @property
    def known_wrong(self) -> tuple[ValidationResult, ...]:
        """The versions with problems in their last validation that were not yielded.

        They are not due, or not validated so far; or another process has validated them meanwhile.
        """
        with self._lock:
            wrong = sorted(self._wrong.items())
        return tuple(_result(key, found) for key, found in wrong if key.path not in self._told)

    def _wrong_in(
        self, known: Mapping[VersionKey, ValidationRecord]
    ) -> dict[VersionKey, ValidationRecord]:
        """The ``known`` problems of versions that are still there."""
        return {
            key: record
            for key, record in known.items()
            if record.problems
            and key in self._versions
            and (
                record.finished >= self._planned
                or may_still_hold(record, self._fingerprints.get(key, ""))
            )
        }

    def __iter__(self) -> Iterator[ValidationResult]:
        for result in super().__iter__():
            self._told.add(result.address)
            yield result

    def _conclude(self, ledger: Ledger, others: Sequence[str]) -> None:
        super()._conclude(ledger, others)
        known = _in_scope(ledger.validations(), *self._names)
        if self._restart:
            for key in known.keys() - self._versions:
                if known[key].finished < self._planned:  # else it is new, and others validate it
                    ledger.forget(key)
        found = self._wrong_in(known)
        with self._lock:
            self._wrong = found

    @property
    def size(self) -> int | None:
        """Bytes of all versions that are due; ``None`` if no size is known.

        Versions of unknown size count as the average of the others.
        """
        known = Work(len(self._sizes), sum(self._sizes.values()))
        return expected(known, len(self.tasks) - len(self._sizes))

    def _begin(self, ledger: Ledger) -> None:
        self._started = time.monotonic()
        self._progress.expect_versions(len(self.tasks), self.size)
        if self._ends_run:
            super()._begin(ledger)

    def _is_over_budget(self) -> bool:
        return self._budget.is_used_up(time.monotonic() - self._started, self._started_bytes)

    def _is_done(self, ledger: Ledger, task: str) -> bool:
        key = self._keys[task]
        at, planned = ledger.validated_at(key), self._known.get(key)
        return at is not None and at >= self._before and (planned is None or at != planned.finished)

    def _carry_out(self, task: str, stop: Stop, claims: Claims) -> ValidationResult | None:
        key, service = self._keys[task], self._service
        started = time.monotonic()
        if key not in self._fingerprints:
            self._fingerprints[key] = self._requester.ask(
                lambda: read_fingerprint(service, key), stop
            )
        stored = self._requester.ask(lambda: read_stored_files(service, key), stop)
        self._note_size(key, stored)
        target = TargetProgress(self._progress, stop, claims)
        problems: tuple[str, ...] = ()
        code = ""
        names = {"project": key.project, "asset": key.asset, "version": key.version}
        is_long = stored is not None and takes_long(*stored)
        try:
            self._requester.request(target, stop, "validate_version", long=is_long, **names)
        except errors.RequestFailed as error:
            target.reach(0, 0)
            if self._requester.was_deleted(error, *names.values()):
                return None
            problems, code = problems_in(error), str(error.code)
        files, size = stored or (0, 0)
        target.reach(files, size)
        seconds = round(time.monotonic() - started, 3)
        record = ValidationRecord(
            self._fingerprints[key], time.time(), seconds, files, size, problems, code
        )
        return _result(key, record)

    def _note_size(self, key: VersionKey, stored: StoredFiles | None) -> None:
        """Count the bytes of a version that is being validated."""
        with self._lock:
            self._sizes[key] = stored.bytes if stored else 0
            self._started_bytes += self._sizes[key]
            self._progress.expect_versions(len(self.tasks), self.size)

    def _record(self, ledger: Ledger, task: str, result: ValidationResult | None) -> None:
        key = self._keys[task]
        with self._lock:
            self._wrong.pop(key, None)
        if result is None:
            ledger.forget(key)
            return
        finished = result.finished.timestamp()
        record = ValidationRecord(
            self._fingerprints[key],
            *(finished, result.seconds, result.files, result.bytes, result.problems),
            result.code,
        )
        if record.problems:  # Ctrl-C, or a full disk, may come before it is yielded
            with self._lock:
                self._wrong[key] = record
        ledger.record(key, record)


def record_validation(
    service: BulkService,
    key: VersionKey,
    seconds: float,
    problems: tuple[str, ...],
    code: str,
) -> None:
    """Record in the ledger that one version was validated, outside of a bulk run."""
    files, size = read_stored_files(service, key) or (0, 0)
    record = ValidationRecord(
        read_fingerprint(service, key), time.time(), round(seconds, 3), files, size, problems, code
    )
    with Ledger(*registry_id(service)) as ledger:
        ledger.record(key, record)


def last_validations(
    service: BulkService, project: str, asset: str, retry_seconds: float
) -> dict[str, ValidationResult | None]:
    """The last validation of each version by its address, in the order in which they are due."""
    requester = BulkRequester(service, NoBulkProgress(), retry_seconds)
    registry = registry_id(service)
    versions = Targets(service, project, asset, requester.ask).versions()
    with Ledger(*registry) as ledger:
        known = _in_scope(ledger.validations(), project, asset)
    found = _read_fingerprints(service, requester, known.keys() & set(versions))
    return {
        key.path: _result(key, known[key]) if _is_about(known.get(key), found.get(key)) else None
        for key in due(versions, known, found, float("inf"), time.time())
    }


def _is_about(last: ValidationRecord | None, found: str | None) -> bool:
    """Whether ``last`` tells something of the version that now has the fingerprint ``found``."""
    if last is None or found is None:
        return False
    return may_still_hold(last, found) if last.problems else still_holds(last, found)


def _read_fingerprints(
    service: BulkService, requester: BulkRequester, versions: Iterable[VersionKey]
) -> dict[VersionKey, str]:
    keys = list(versions)
    with ThreadPoolExecutor(SUMMARY_READERS, thread_name_prefix="gobbler") as pool:
        found = pool.map(lambda key: requester.ask(lambda: read_fingerprint(service, key)), keys)
        return dict(zip(keys, found, strict=True))


def _in_scope(
    known: Mapping[VersionKey, ValidationRecord], project: str, asset: str
) -> dict[VersionKey, ValidationRecord]:
    return {
        key: record
        for key, record in known.items()
        if project in ("", key.project) and asset in ("", key.asset)
    }


def _check_mounted(
    versions: list[VersionKey], known: Mapping[VersionKey, ValidationRecord]
) -> None:
    """Raise if the registry looks empty, rather than report that all of it is valid."""
    if known and not versions:
        example = min(known).path
        raise Fault(
            f"the registry has no version, but {len(known)} were validated before, such as "
            f"{quoted(example)}",
            code=Code.MISCONFIGURED,
            hint="Is the registry mounted? See where it is expected with: gobbler info. If all "
            "of them were deleted, --restart forgets them.",
        )
