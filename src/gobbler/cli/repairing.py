"""``gobbler refresh --all`` and ``gobbler reindex --all``: what is told of them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

import click

from gobbler.cli import common, sweeping
from gobbler.client import Repaired, Repairs
from gobbler.errors import Fault
from gobbler.records import format_time

_COMMANDS = {
    "refresh_usage": "refresh usage",
    "refresh_latest": "refresh latest",
    "reindex_version": "reindex",
}


def repair(
    plan: Callable[[sweeping.SweepBar], Repairs],
    doing: str,
    done: str,
    *,
    unit: str,
    as_json: bool,
    confirm: Callable[[Repairs], None] = sweeping.tell_resumed,
) -> int:
    """Go over what ``plan`` answers, once ``confirm`` has returned; the exit code."""
    results: list[Repaired] = []
    bar = sweeping.SweepBar(doing, f"{unit}s")
    found = plan(bar)
    confirm(found)
    started = time.monotonic()
    with bar:

        def tell() -> None:
            bar.end()
            if not as_json:
                _tell(found, results, done, unit, time.monotonic() - started)

        with sweeping.told_when_broken_off(tell):
            results.extend(found)
    if as_json:
        common.print_json(_document(found, results, done, time.monotonic() - started))
    else:
        tell()
    return Fault.exit_code if any(result.problem for result in results) else 0


def _tell(found: Repairs, results: list[Repaired], done: str, unit: str, seconds: float) -> None:
    failed = [result for result in results if result.problem]
    rows = [
        (
            result.address,
            result.problem,
            f"gobbler {_COMMANDS[result.action]} {shlex.quote(result.address)}",
        )
        for result in failed
    ]
    sweeping.table(("what", "problem", "try next"), rows)
    count = sweeping.number(len(results) - len(failed), unit)
    facts = [(done, f"{count} in {seconds:.1f} s")]
    if found.left:
        facts.append(("remaining", f"{found.left}: the same command goes on with them"))
    if found.done_before:
        facts.append(("before", str(found.done_before)))
    common.print_facts(facts, err=True)
    if failed:
        click.echo(
            f"error: {len(failed)} of {sweeping.number(len(results), unit)} failed", err=True
        )


def _document(found: Repairs, results: list[Repaired], done: str, seconds: float) -> dict[str, Any]:
    return {
        "resumed": None if found.resumed is None else format_time(found.resumed),
        "done_before": found.done_before,
        done: [_described(result) for result in results if not result.problem],
        "failed": [_described(result) for result in results if result.problem],
        "remaining": found.left,
        "seconds": round(seconds, 3),
    }


def _described(result: Repaired) -> dict[str, Any]:
    names = {"project": result.project, "asset": result.asset, "version": result.version}
    described: dict[str, Any] = {what: name for what, name in names.items() if name}
    if result.problem:
        return {"action": result.action, **described, "problem": result.problem}
    kind = {"refresh_usage": "usage", "refresh_latest": "latest"}.get(result.action)
    return described | ({kind: result.found} if kind else {})
