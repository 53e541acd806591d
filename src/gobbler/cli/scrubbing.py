"""``gobbler validate --all``: what is told of it."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.filesize import decimal

from gobbler.cli import common, sweeping
from gobbler.client import Budget, Client, Scrub, Verified
from gobbler.client.calls.addresses import Address
from gobbler.client.sweeping.scrub import keep_verified
from gobbler.errors import GobblerError, Refused
from gobbler.names import LINKS, MANIFEST, VersionKey
from gobbler.records import format_time


def scrub(
    client: Client,
    project: str,
    asset: str,
    *,
    since: dt.datetime | None,
    budget: Budget,
    parallel: int,
    restart: bool,
    as_json: bool,
) -> int:
    """Verify what is due and tell what is wrong; the exit code."""
    started = time.monotonic()
    results: list[Verified] = []
    with sweeping.SweepBar("verifying", "versions") as bar:
        found = client.validate_all(
            project,
            asset,
            since=since,
            budget=budget,
            parallel=parallel,
            restart=restart,
            progress=bar,
        )
        if not as_json:
            sweeping.tell_resumed(found, bar.note)

        def tell() -> None:
            bar.end()
            if not as_json:
                _tell(found, results, time.monotonic() - started)

        with sweeping.told_when_broken_off(tell):
            results.extend(found)
    if as_json:
        common.print_json(_document(found, results, time.monotonic() - started))
    else:
        tell()
    return Refused.exit_code if _wrong(found, results) else 0


def _wrong(found: Scrub, results: list[Verified]) -> list[Verified]:
    """What is known to be wrong, be it since now or since an earlier run."""
    return [result for result in (*found.known_wrong, *results) if not result.is_valid]


def _tell(found: Scrub, results: list[Verified], seconds: float) -> None:
    wrong = _wrong(found, results)
    sweeping.table(
        ("version", "verified", ">problems", "the first", "try next"),
        [
            (
                result.address,
                format_time(result.finished),
                str(len(result.problems)),
                result.problems[0],
                next_command(result.address, result.problems),
            )
            for result in wrong
        ],
    )
    files = sweeping.number(sum(result.files for result in results), "file")
    size = decimal(sum(result.bytes for result in results))
    count = sweeping.number(len(results), "version")
    facts = [("verified", f"{count} in {seconds:.1f} s: {files}, {size}")]
    if found.left:
        why = "the budget is used up; " if found.is_used_up else ""
        facts.append(("remaining", f"{found.left}: {why}the same command goes on with them"))
    if found.done_before:
        facts.append(("before", f"{found.done_before}, which are not due"))
    common.print_facts(facts, err=True)
    if wrong:
        verb = "has" if len(wrong) == 1 else "have"
        number = sweeping.number(len(wrong), "version")
        click.echo(f"error: {number} {verb} problems", err=True)


def _document(found: Scrub, results: list[Verified], seconds: float) -> dict[str, Any]:
    return {
        "resumed": None if found.resumed is None else format_time(found.resumed),
        "verified": len(results),
        "files": sum(result.files for result in results),
        "bytes": sum(result.bytes for result in results),
        "seconds": round(seconds, 3),
        "not_due": found.done_before,
        "remaining": found.left,
        "budget_used_up": found.is_used_up,
        "wrong": [_described(result) for result in _wrong(found, results)],
    }


def _described(result: Verified) -> dict[str, Any]:
    return {
        "project": result.project,
        "asset": result.asset,
        "version": result.version,
        "verified": format_time(result.finished),
        "seconds": result.seconds,
        "files": result.files,
        "bytes": result.bytes,
        "problems": result.problems,
    }


def keep(client: Client, place: Address, seconds: float, problems: Sequence[str]) -> None:
    """Know what came of verifying one version alone, too; say so if that can't be."""
    key = VersionKey(place.project, place.asset, place.version)
    try:
        keep_verified(client, key, seconds, tuple(problems))
    except GobblerError as error:
        click.echo(f"warning: {error.reason}", err=True)


def status(client: Client, project: str, asset: str, *, as_json: bool) -> None:
    """Tell when each version was verified the last time."""
    known = client.last_verified(project, asset)
    if as_json:
        common.print_json(
            {
                "versions": [
                    dict(zip(("project", "asset", "version"), address.split("/"), strict=True))
                    | {"verified": None}
                    if last is None
                    else _described(last)
                    for address, last in known.items()
                ]
            }
        )
        return
    rows = [
        (address, "never", "", "", "")
        if last is None
        else (
            address,
            format_time(last.finished),
            "valid" if last.is_valid else sweeping.number(len(last.problems), "problem"),
            str(last.files),
            common.size(last.bytes),
        )
        for address, last in known.items()
    ]
    common.print_table(("version", "verified", "result", ">files", ">size"), rows)


def next_command(address: str, problems: Sequence[str]) -> str:
    """What to try with a version that has ``problems``.

    Records that are damaged can be made anew from the files; anything else is to be looked
    at first, for then the files may not be what was published.
    """
    name = shlex.quote(address)
    remade = (f"{MANIFEST} is damaged", f"{LINKS} is damaged")
    if all(any(text in problem for text in remade) for problem in problems):
        return f"gobbler reindex {name} && gobbler validate {name}"
    return f"gobbler validate {name}"
