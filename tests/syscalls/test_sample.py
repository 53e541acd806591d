"""A sample of what ``make faults`` tries in full."""

from __future__ import annotations

import json

import pytest

from .accounts import why_no_accounts
from .disturbing import Point
from .judging import service_findings, stray_findings
from .operations import OPERATIONS, Operation
from .points import faults, kills
from .trying import Bench

KILLS, FAULTS = 2, 6
"""Points of each operation."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_kill_or_fault_at_a_call_leaves_nothing_half_done(
    bench: Bench, operation: Operation
) -> None:
    if operation.foreign and (problem := why_no_accounts()):
        pytest.skip(problem)
    study = bench.study(operation, cold=False)
    killed = list(kills(operation, study))
    # Late points are the delicate ones: first of all everything is built out of sight.
    chosen = [
        *spread(list(faults(operation, study)), FAULTS),
        *spread(killed[len(killed) // 2 :], KILLS),
    ]
    outcomes = [bench.attempt(point) for point in chosen]
    wrong = [(o.point.error or "killed", o.hit, o.findings) for o in outcomes if o.findings]
    assert wrong == []
    assert sum(bool(outcome.hit) for outcome in outcomes) > len(chosen) // 2


def spread(points: list[Point], number: int) -> list[Point]:
    """``number`` of the ``points``, evenly."""
    return [points[(2 * i + 1) * len(points) // (2 * number)] for i in range(number)]


def test_what_is_wrong_is_found(bench: Bench) -> None:
    bench.study(next(op for op in OPERATIONS if op.name == "create-project"), cold=False)
    assert list(service_findings(bench.service)) == []
    registry = bench.service.world.registry
    (registry / "p/b/1/own").write_bytes(b"other")
    (registry / "p/a/1/x.csv").unlink()
    (registry / "p/a/..tmp-stray").touch()
    (registry / "q/..usage").write_text(json.dumps({"total": 7}))
    (registry / "p/a/..latest").write_text(json.dumps({"version": "1"}))
    (registry / "p/c").mkdir()
    (registry / "p/c/1").mkdir()
    found = [*service_findings(bench.service), *stray_findings(bench.service.world)]
    assert {finding.column for finding in found} == {
        *("broken", "lost", "usage", "latest", "log", "stray")
    }
