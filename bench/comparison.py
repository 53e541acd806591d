"""One case: all sides in alternating runs, the yardstick, and the least that it can cost."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException

from bench.cases.base import Case
from bench.limit import widths
from bench.measuring import Sample, measured, system_calls, watching
from bench.peers import Peer
from bench.session import Session

_PHASE = re.compile(r'^gobbler_upload_phase_seconds_total\{phase="(\w+)"\} (\S+)$', re.MULTILINE)
_REQUEST = re.compile(
    r'^gobbler_request_duration_seconds_sum\{action="upload"\} (\S+)$', re.MULTILINE
)


@dataclass
class Side:
    """What the runs of one side took; for each, seconds by phase, if it was an upload."""

    case: Case
    samples: list[Sample] = field(default_factory=list)
    phases_of: list[dict[str, float]] = field(default_factory=list)
    memory: int = 0
    calls: dict[str, int] | None = None

    @property
    def seconds(self) -> float:
        """What counts: the least time, or the median."""
        walls = [sample.wall for sample in self.samples]
        return statistics.median(walls) if self.case.is_typical else min(walls)

    @property
    def phases(self) -> dict[str, float]:
        """The phases of the run whose time counts; of two medians, the shorter one."""
        order = sorted(range(len(self.samples)), key=lambda number: self.samples[number].wall)
        return self.phases_of[order[(len(order) - 1) // 2 if self.case.is_typical else 0]]

    @property
    def median(self) -> float:
        """The median time."""
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def processor(self) -> float | None:
        """The least processor seconds."""
        used = [sample.processor for sample in self.samples if sample.processor is not None]
        return min(used) if used else None


@dataclass
class Comparison:
    """All sides of a case, ours first. ``least``: seconds of the C program, by threads."""

    kind: type[Case]
    sides: list[Side]
    yard: list[Sample] = field(default_factory=list)
    least: dict[int, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the second side the first one is."""
        return self.sides[1].seconds / self.sides[0].seconds if len(self.sides) > 1 else None

    @property
    def processor_ratio(self) -> float | None:
        """The same of processor seconds; ``None`` where they are too few to be counted well."""
        if len(self.sides) < 2:
            return None
        used = [side.processor or 0.0 for side in self.sides]
        return used[1] / used[0] if min(used) >= LEAST_PROCESSOR else None


LEAST_PROCESSOR = 0.1
"""Seconds: the kernel counts in hundredths."""


def compare(kind: type[Case], session: Session, runs: int, *, thorough: bool) -> Comparison:
    """Run a case. ``thorough``: also its yardstick, and count memory and system calls."""
    cases = kind.sides(session)
    result = Comparison(kind, [Side(case) for case in cases])
    with closing(kind.rounds(cases, 1 if kind.by_name else runs)) as rounds:
        for _ in rounds:
            for side in result.sides:
                _run(side)
            # Once on a disk, where to remove what it makes takes longer than to measure.
            if session.limit is not None and (session.is_in_memory or not result.least):
                _run_least(result, session)
            if thorough and kind.yardstick is not Case.yardstick:
                case = cases[len(result.yard) % len(cases)]
                result.yard.append(measured(case.yardstick, None))
    if thorough and kind.yardstick is not Case.yardstick:
        for side in result.sides:
            _count(side)
    return result


def _run(side: Side) -> None:
    case = side.case
    case.before()
    if case.on_quiet_disk:
        case.session.settle()
    before = phases(case.peer)
    if case.by_name and case.peer.pid is not None:
        with watching(case.peer.pid) as seen:
            sample = case.measure()
        side.memory = max(seen)
    else:
        sample = case.measure()
    after = phases(case.peer)
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    if sum(spent.values()) > 0:
        spent["outside"] = sample.wall - sum(spent.values())
    else:
        spent = {}  # it was no upload
    side.samples.append(sample)
    side.phases_of.append(spent)
    case.after()


def phases(peer: Peer) -> dict[str, float]:
    """Seconds of each phase of all uploads so far, as the service measures them.

    ``request`` is the rest of the request. Empty for a service that does not tell.
    """
    try:
        text = peer.connection.get("/metrics").decode()
    except (OSError, HTTPException):
        return {}
    found = {name: float(value) for name, value in _PHASE.findall(text)}
    if found:
        request = sum(float(value) for value in _REQUEST.findall(text))
        found["request"] = request - sum(found.values())
    return found


def _run_least(result: Comparison, session: Session) -> None:
    assert session.limit is not None
    for threads in widths():
        words = result.sides[0].case.least()
        if words is None:
            return
        took = session.limit.seconds(threads, words)
        result.least[threads] = min(took, result.least.get(threads, took))
        if result.kind.unit == "MB":
            session.remove_places()


def _count(side: Side) -> None:
    case = side.case
    if case.peer.pid is None:
        return
    case.before()
    side.calls = system_calls(case.work, case.peer.pid)
    case.after()
    with watching(case.peer.pid) as seen:
        case.before()
        case.work()
        case.after()
    side.memory = max(seen)


def rows(comparison: Comparison) -> Iterator[dict[str, object]]:
    """All figures of a comparison, a row for each side, for JSON."""
    for side in comparison.sides:
        case = side.case
        row: dict[str, object] = {
            "case": case.title,
            "peer": case.peer.name,
            "unit": case.unit,
            "amount": case.amount,
            "seconds": side.seconds,
            "median": side.median,
            "rate": case.amount / side.seconds,
            "processor": side.processor,
        }
        if comparison.yard:
            row["yardstick"] = case.yardstick_title
            row["wall_ratio"] = side.seconds / min(sample.wall for sample in comparison.yard)
            least = min(sample.processor or 0.0 for sample in comparison.yard)
            if side.processor and least:
                row["processor_ratio"] = side.processor / least
        if comparison.least:
            row["least"] = {str(threads): took for threads, took in comparison.least.items()}
        if side.phases:
            row["phases"] = side.phases
        if side.memory:
            row["memory"] = side.memory
        if side.calls is not None:
            row["calls_each"] = sum(side.calls.values()) / case.amount
            row["calls"] = dict(sorted(side.calls.items(), key=lambda item: -item[1])[:8])
        row.update(case.found)
        yield row
