"""Verifying many versions: the sweep behind :meth:`Admin.validate_all`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from gobbler.client.bulk.ledger import Attendance, Kept, Ledger
from gobbler.client.bulk.request import Amount, Carrier
from gobbler.client.bulk.run import Sweep, SweepProgress, Unseen
from gobbler.client.bulk.survey import Overseeing, Stored, Survey, problems_in
from gobbler.client.errors import RequestFailed
from gobbler.client.parallel import Stop
from gobbler.errors import Fault, Refused, quoted
from gobbler.fs.clock import moment
from gobbler.model.names import VersionKey
from gobbler.rules.bulk import Budget, Work, due, expected, still_holds, takes_long

READERS = 8
"""Summaries that are read at a time."""


class Verified(Struct, frozen=True):
    """What came of verifying a version: all that is wrong with it, a sentence each.

    ``seconds`` is how long it took; ``files`` and ``bytes`` are what was hashed: links are
    none of them, and both are 0 where the manifest can't be read.
    """

    project: str
    asset: str
    version: str
    finished: dt.datetime
    seconds: float
    files: int
    bytes: int
    problems: tuple[str, ...]

    @property
    def address(self) -> str:
        """``project/asset/version``."""
        return "/".join(part for part in (self.project, self.asset, self.version) if part)

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems


def _verified(key: VersionKey, kept: Kept) -> Verified:
    return Verified(
        key.project,
        key.asset,
        key.version,
        moment(kept.finished),
        kept.seconds,
        kept.files,
        kept.bytes,
        kept.problems,
    )


class Scrub(Sweep[Verified]):
    """The versions that are due to be verified; iterate to have that done, one by one.

    See :meth:`Admin.validate_all`. It may end before nothing is ``left``: once the budget
    is used up, which ``is_used_up`` tells, or if others are at the rest. ``known_wrong`` are
    those that are not due, with what was wrong when they were verified the last time.
    """

    action = "validate"

    def __init__(
        self,
        client: Overseeing,
        project: str,
        asset: str,
        *,
        since: dt.datetime | None,
        budget: Budget,
        restart: bool,
        parallel: int,
        patience: float,
        progress: SweepProgress | None,
    ) -> None:
        if since is not None and restart:
            raise Refused("what was verified since then can't be left out and begun anew, too")
        of = client._registry_of()
        scope = "/".join(filter(None, (project, asset)))
        self._client = client
        self._carrier = Carrier(client, progress or Unseen(), patience)
        self._budget = budget
        self._ends_run = since is None
        survey = Survey(client, project, asset, self._carrier.ask)
        versions = survey.versions()
        with Ledger(*of) as ledger:
            run = None if restart or since is not None else ledger.unfinished(self.action, scope)
            known = _below(ledger.verified(), project, asset)
        _check_mounted(versions, known)
        self._stamps = stamps(client, self._carrier, known.keys() & set(versions))
        self._known = {
            key: kept
            for key, kept in known.items()
            if key in self._stamps and still_holds(kept, self._stamps[key])
        }
        self._before = time.time() if run is None else run.begun
        if since is not None:
            self._before = since.timestamp()
        keys = due(versions, known, self._stamps, self._before, time.time())
        self._keys = {key.path: key for key in keys}
        self.known_wrong = tuple(
            _verified(key, kept)
            for key, kept in sorted(self._known.items())
            if kept.problems and key.path not in self._keys
        )
        self._sizes = {key: self._known[key].bytes for key in keys if key in self._known}
        self._begun_bytes = 0
        super().__init__(
            of,
            list(self._keys),
            scope=scope,
            run=run,
            done_before=len(versions) - len(keys),
            odd=[
                Verified(*odd[:3], moment(time.time()), 0.0, 0, 0, (odd.problem,))
                for odd in survey.odd
            ],
            parallel=parallel,
            restart=restart,
            progress=progress,
        )

    @property
    def size(self) -> int | None:
        """Bytes in all that is due, supposed to be as many on average where it is not known.

        ``None`` if nothing is known at all.
        """
        known = Work(len(self._sizes), sum(self._sizes.values()))
        return expected(known, len(self.tasks) - len(self._sizes))

    def _begin(self, ledger: Ledger) -> None:
        self._started = time.monotonic()
        self._progress.expect(len(self.tasks), self.size)
        if self._ends_run:
            super()._begin(ledger)

    def _may_not_begin(self) -> bool:
        return self._budget.is_used_up(time.monotonic() - self._started, self._begun_bytes)

    def _is_done(self, ledger: Ledger, task: str) -> bool:
        key = self._keys[task]
        at, planned = ledger.verified_at(key), self._known.get(key)
        return at is not None and at >= self._before and (planned is None or at != planned.finished)

    def _carry_out(self, task: str, stop: Stop, attendance: Attendance) -> Verified | None:
        key, client = self._keys[task], self._client
        begun = time.monotonic()
        if key not in self._stamps:
            self._stamps[key] = self._carrier.ask(lambda: client._version_stamp(key), stop)
        stored = self._carrier.ask(lambda: client._stored(key), stop)
        self._learn(key, stored)
        amount = Amount(self._progress, stop, attendance)
        problems: tuple[str, ...] = ()
        names = {"project": key.project, "asset": key.asset, "version": key.version}
        is_long = stored is not None and takes_long(*stored)
        try:
            self._carrier.request(amount, stop, "validate_version", long=is_long, **names)
        except RequestFailed as error:
            amount.reach(0, 0)
            if client._was_deleted(error, *names.values()):
                return None
            problems = problems_in(error)
        files, size = stored or (0, 0)
        amount.reach(files, size)
        seconds = round(time.monotonic() - begun, 3)
        return _verified(key, Kept(self._stamps[key], time.time(), seconds, files, size, problems))

    def _learn(self, key: VersionKey, stored: Stored | None) -> None:
        """Know how much is in a version that is begun."""
        with self._turn:
            self._sizes[key] = stored.bytes if stored else 0
            self._begun_bytes += self._sizes[key]
            self._progress.expect(len(self.tasks), self.size)

    def _keep(self, ledger: Ledger, task: str, result: Verified | None) -> None:
        key = self._keys[task]
        if result is None:
            ledger.forget(key)
            return
        finished = result.finished.timestamp()
        ledger.keep(
            key,
            Kept(
                self._stamps[key],
                *(finished, result.seconds, result.files, result.bytes, result.problems),
            ),
        )


def keep_verified(
    client: Overseeing, key: VersionKey, seconds: float, problems: tuple[str, ...]
) -> None:
    """Know what came of verifying a version alone, which took so long."""
    files, size = client._stored(key) or (0, 0)
    kept = Kept(client._version_stamp(key), time.time(), round(seconds, 3), files, size, problems)
    with Ledger(*client._registry_of()) as ledger:
        ledger.keep(key, kept)


def last_verified(
    client: Overseeing, project: str, asset: str, patience: float
) -> dict[str, Verified | None]:
    """When each version was verified the last time, those first that are due first."""
    carrier = Carrier(client, Unseen(), patience)
    of = client._registry_of()
    versions = Survey(client, project, asset, carrier.ask).versions()
    with Ledger(*of) as ledger:
        known = _below(ledger.verified(), project, asset)
    found = stamps(client, carrier, known.keys() & set(versions))
    return {
        key.path: _verified(key, known[key])
        if key in found and still_holds(known[key], found[key])
        else None
        for key in due(versions, known, found, float("inf"), time.time())
    }


def stamps(
    client: Overseeing, carrier: Carrier, versions: Iterable[VersionKey]
) -> dict[VersionKey, str]:
    """The stamps of some versions."""
    keys = list(versions)
    with ThreadPoolExecutor(READERS, thread_name_prefix="gobbler") as pool:
        found = pool.map(lambda key: carrier.ask(lambda: client._version_stamp(key)), keys)
        return dict(zip(keys, found, strict=True))


def _below(known: Mapping[VersionKey, Kept], project: str, asset: str) -> dict[VersionKey, Kept]:
    return {
        key: kept
        for key, kept in known.items()
        if project in ("", key.project) and asset in ("", key.asset)
    }


def _check_mounted(versions: list[VersionKey], known: Mapping[VersionKey, Kept]) -> None:
    """Refuse to find that all is well where nothing is."""
    if known and not versions:
        example = min(known).path
        raise Fault(
            f"there is no version, though {len(known)} were verified before, such as "
            f"{quoted(example)}",
            hint="Is the registry mounted?",
        )
