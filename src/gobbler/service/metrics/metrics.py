"""The metrics of a service: what each is called, and who adds to it.

Names follow the conventions of Prometheus: ``_total`` for what only grows, base units, and labels
with few values. No label holds a name that a user chooses.
"""

from __future__ import annotations

import bisect
import enum
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from gobbler.actions import ACTIONS
from gobbler.errors import Cancelled, GobblerError
from gobbler.model.progress import Phase, Progress, tell_waiting
from gobbler.service.metrics.shared_counters import SharedCounters

OTHER = "other"
ENDPOINTS = ("new", "fetch", "archive", "list", "links", "jobs", OTHER)
"""Endpoints, as the label ``endpoint`` names them."""

OUTCOMES = ("success", "refused", "failed", "cancelled")
"""How a request ends: carried out, a mistake of the client, a fault, or stopped on request."""

UNKNOWN = "unknown"
"""The label of a request that names no action."""

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0, 3600.0)
"""Upper limits in seconds of the buckets for durations."""

_ACTIONS = (*ACTIONS, UNKNOWN)
_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_CLEANED = ("staging", "spool", "logs", "probation")


class Kind(enum.Enum):
    """How the values of several processes make one."""

    COUNTER = "counter"
    """The sum, also of processes that have ended."""
    GAUGE = "gauge"
    """The sum over living processes."""
    LATEST = "latest"
    """The greatest."""


class Family(NamedTuple):
    """One metric: its labels, and the values that each label can have."""

    name: str
    kind: Kind
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


_DURATION = "gobbler_request_duration_seconds"
_BUCKET = f"{_DURATION}_bucket"
_SUM = f"{_DURATION}_sum"
_LIMITS = (*map(str, BUCKETS), "+Inf")

FAMILIES = (
    Family(
        "gobbler_requests",
        Kind.COUNTER,
        "Requests for changes that were answered.",
        (("action", _ACTIONS), ("outcome", OUTCOMES)),
    ),
    Family(
        _BUCKET,
        Kind.COUNTER,
        "Seconds that requests for changes took.",
        (("action", _ACTIONS), ("le", _LIMITS)),
    ),
    Family(_SUM, Kind.COUNTER, "", (("action", _ACTIONS),)),
    Family(
        "gobbler_upload_phase_seconds",
        Kind.COUNTER,
        "Seconds that uploads spent in each phase, those that failed included.",
        (("phase", tuple(phase.value for phase in Phase)),),
    ),
    Family(
        "gobbler_requests_in_flight",
        Kind.GAUGE,
        "Requests for changes and jobs that are being carried out.",
    ),
    Family("gobbler_jobs", Kind.COUNTER, "Jobs of the spool that ended.", (("outcome", OUTCOMES),)),
    Family(
        "gobbler_processed_files",
        Kind.COUNTER,
        "Files that requests have copied, compared or verified.",
    ),
    Family("gobbler_processed_bytes", Kind.COUNTER, "Bytes of these files."),
    Family(
        "gobbler_http_responses",
        Kind.COUNTER,
        "HTTP responses.",
        (("endpoint", ENDPOINTS), ("status", _STATUSES)),
    ),
    Family(
        "gobbler_http_response_bytes",
        Kind.COUNTER,
        "Bytes of the bodies of HTTP responses.",
        (("endpoint", ENDPOINTS),),
    ),
    Family("gobbler_http_in_flight", Kind.GAUGE, "HTTP requests that are being answered."),
    Family(
        "gobbler_cleanup_removed",
        Kind.COUNTER,
        "Old entries that cleanup removed.",
        (("what", _CLEANED),),
    ),
    Family(
        "gobbler_cleanup_failures",
        Kind.COUNTER,
        "Old entries that cleanup could not remove, and cleanups that failed.",
        (("what", _CLEANED),),
    ),
    Family("gobbler_cleanup_last_run_timestamp_seconds", Kind.LATEST, "When cleanup last ended."),
    Family(
        "gobbler_discarded_removed",
        Kind.COUNTER,
        "Files and directories of discarded trees that were removed.",
    ),
    Family(
        "gobbler_recovered_changes",
        Kind.COUNTER,
        "Interrupted changes that recovery completed or rolled back.",
        (("result", ("completed", "rolled_back")),),
    ),
    Family(
        "gobbler_index_updates",
        Kind.COUNTER,
        "Updates of the index from the log.",
        (("outcome", ("success", "failed")),),
    ),
    Family(
        "gobbler_index_last_update_timestamp_seconds",
        Kind.LATEST,
        "When the index was last updated.",
    ),
)

Key = tuple[str, tuple[str, ...]]


def _cells() -> Iterator[tuple[Key, Kind]]:
    for family in FAMILIES:
        for values in product(*(values for _, values in family.labels)):
            yield (family.name, values), family.kind


_LAYOUT = {key: cell for cell, (key, _) in enumerate(_cells())}
_KINDS = [kind for _, kind in _cells()]
_IN_FLIGHT = _LAYOUT["gobbler_requests_in_flight", ()]
_FILES = _LAYOUT["gobbler_processed_files", ()]
_BYTES = _LAYOUT["gobbler_processed_bytes", ()]
_PHASES = {phase: _LAYOUT["gobbler_upload_phase_seconds", (phase.value,)] for phase in Phase}


class Metrics:
    """Counts what this process does, for the whole service.

    Make one before the first fork, and call :meth:`join` in each process. ``rows`` is the number
    of processes that may count at the same time; without any, nothing is counted.
    """

    def __init__(self, rows: int = 0) -> None:
        self._counters = SharedCounters(len(_LAYOUT), rows)

    def join(self) -> None:
        """Count in this process from now on."""
        self._counters.join(cell for cell, kind in enumerate(_KINDS) if kind is Kind.GAUGE)

    def add(self, name: str, amount: float = 1.0, *labels: str) -> None:
        """Add to a metric; for a gauge, ``amount`` may be negative."""
        self._counters.add(_LAYOUT[name, labels], amount)

    def set_time(self, name: str) -> None:
        """Set a metric that holds a time to now."""
        self._counters.set(_LAYOUT[name, ()], time.time())

    def request(self, action: str, error: GobblerError | None, seconds: float) -> None:
        """Count a request for a change that took ``seconds`` and ended with ``error``, if any."""
        action = action if action in ACTIONS else UNKNOWN
        limit = _LIMITS[bisect.bisect_left(BUCKETS, seconds)]
        self._counters.add_each(
            (
                (_LAYOUT["gobbler_requests", (action, outcome_label(error))], 1),
                (_LAYOUT[_BUCKET, (action, limit)], 1),
                (_LAYOUT[_SUM, (action,)], seconds),
            )
        )

    def begin_work(self) -> None:
        """Count a request for a change, or a job, that is being carried out."""
        self._counters.add(_IN_FLIGHT)

    def end_work(self, files: int, size: int, phases: Mapping[Phase, float]) -> None:
        """Count that it has ended, with what it has processed, and the seconds of its phases."""
        amounts = [(_IN_FLIGHT, -1.0)]
        if files or size:
            amounts += [(_FILES, files), (_BYTES, size)]
        amounts += [(_PHASES[phase], seconds) for phase, seconds in phases.items()]
        self._counters.add_each(amounts)

    def values(self) -> dict[Key, float]:
        """The value of each metric, over all processes."""
        every = self._counters.columns(alive=False)
        alive = self._counters.columns(alive=True)
        combined: dict[Key, float] = {}
        for key, cell in _LAYOUT.items():
            kind = _KINDS[cell]
            if kind is Kind.LATEST:
                combined[key] = max(every[cell])
            else:
                combined[key] = sum((alive if kind is Kind.GAUGE else every)[cell])
        return combined

    def http_in_flight(self) -> float:
        """The number of HTTP requests that the service is answering."""
        return sum(self._counters.column(_LAYOUT["gobbler_http_in_flight", ()]))

    def http_cells(self, endpoint: str) -> HttpCells:
        """Where to count the responses of an endpoint."""
        responses = [_LAYOUT["gobbler_http_responses", (endpoint, s)] for s in _STATUSES]
        size = _LAYOUT["gobbler_http_response_bytes", (endpoint,)]
        flight = _LAYOUT["gobbler_http_in_flight", ()]
        return HttpCells(self._counters, responses, size, flight)


class HttpCells(NamedTuple):
    """The cells of one endpoint, looked up once: there may be thousands of reads a second.

    Only the event loop adds to them.
    """

    counters: SharedCounters
    responses: list[int]
    size: int
    in_flight: int

    def answered(self, status: int, size: int) -> None:
        """Count a response, with ``size`` bytes of its body."""
        self.counters.add_two_alone(self.responses[status // 100 - 1], self.size, size)


def outcome_label(error: GobblerError | None) -> str:
    """The label for how a request ended."""
    if error is None:
        return "success"
    if isinstance(error, Cancelled):
        return "cancelled"
    return "refused" if error.status < 500 else "failed"


class CountedProgress:
    """Passes the progress of one request on, and counts it at the end of the ``with`` block.

    Progress may go back for a moment, which a counter must not. One thread at a time enters phases.
    """

    def __init__(self, metrics: Metrics, progress: Progress) -> None:
        self._metrics = metrics
        self._progress = progress
        self._files = self._size = 0
        self._lock = threading.Lock()
        self._phases: dict[Phase, float] = {}
        self._phase: Phase | None = None
        self._since = 0.0

    def __enter__(self) -> CountedProgress:
        self._metrics.begin_work()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end_phase()
        self._metrics.end_work(max(0, self._files), max(0, self._size), self._phases)

    def expect(self, files: int, size: int | None) -> None:
        """Set the total."""
        self._progress.expect(files, size)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._progress.advance(files, size)
        with self._lock:
            self._files += files
            self._size += size

    def waits_for(self, note: str) -> None:
        """Pass it on."""
        tell_waiting(self._progress, note)

    def enters(self, phase: Phase) -> None:
        """Measure the phase that ends, and begin the next."""
        self._end_phase()
        self._phase = phase

    def _end_phase(self) -> None:
        now = time.perf_counter()
        if self._phase is not None:
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + now - self._since
        self._since = now
