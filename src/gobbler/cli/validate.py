"""``gobbler validate``: verify versions against their records."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.filesize import decimal

from gobbler.cli import amounts, bulk, common, terminal
from gobbler.client import Budget, BulkValidation, Client, RequestFailed, ValidationResult
from gobbler.client.address import Address, parse, parse_as
from gobbler.client.client import resolve_latest
from gobbler.errors import Code, GobblerError, Refused, quoted
from gobbler.model.names import VersionKey
from gobbler.model.records import format_time


@click.command()
@common.address("address", metavar="[PROJECT[/ASSET[/VERSION]]]", default="")
@bulk.everything
@click.option(
    "--since",
    type=amounts.moment,
    metavar="AGE|DATE",
    help="With --all: skip versions verified since then: 12h, 30d, 2w; 2026-11-20.",
)
@click.option(
    "--budget",
    type=amounts.budget,
    multiple=True,
    metavar="TIME|SIZE",
    help="With --all: start no further version after that time or size: 90m, 2h; 500GB; 0 only "
    "tells what is known. You can give both.",
)
@bulk.parallel
@bulk.restart
@click.option(
    "--status", is_flag=True, help="With --all: only show when each version was last verified."
)
@common.requests
@common.as_json
def command(
    client: Client,
    address: str,
    everything: bool,
    since: dt.datetime | None,
    budget: tuple[Budget, ...],
    parallel: int,
    restart: bool,
    status: bool,
    as_json: bool,
) -> int:
    """Verify every byte of a version against its records. Changes nothing.

    The command prints a line for each problem. Exit code 3: there are problems. Only
    administrators of the service can do this.

    With --all, the command verifies all versions of the registry, of PROJECT or of
    PROJECT/ASSET: first versions that were never verified, then the oldest verification.
    Your state directory (XDG_STATE_HOME) records the results: after Ctrl-C, the end of the
    --budget or a power cut, the same command continues. You can run several at a time to
    share the work. The report has a line for each version with problems, and the command to
    try next; it includes problems from earlier runs until the version is valid again, also if
    the --budget ends before its turn. While there are any, the exit code is 3.

    \b
    Examples:
      gobbler validate weather/stations/1.2
      gobbler validate weather/stations/@latest --json
      gobbler validate --all
      gobbler validate --all weather --since 30d --budget 2h --budget 500GB
      gobbler validate --all --status
    """
    options: dict[str, Any] = {"since": since, "budget": budget, "parallel": parallel}
    options |= {"restart": restart, "status": status}
    if not everything:
        bulk.only_with_all(options)
        return _validate(client, address, as_json=as_json)
    project, asset = bulk.scope(address)
    if status:
        return show_status(client, project, asset, as_json=as_json)
    if restart and since is not None:
        raise click.UsageError("--restart and --since exclude each other.")
    options |= {"budget": amounts.budgets(budget)}
    del options["status"]
    return validate_all(client, project, asset, as_json=as_json, **options)


def _validate(client: Client, address: str, *, as_json: bool) -> int:
    if not address:
        raise click.UsageError("Name a version, or use --all.")
    if parse(address).depth in (1, 2):
        raise Refused(
            f"{quoted(address)} is not the address of a version",
            code=Code.INVALID_ADDRESS,
            hint=f"For all versions in it: gobbler validate --all {address}",
        )
    place = resolve_latest(client, parse_as(address, "version"))
    problems: list[str] = []
    code = ""
    started = time.monotonic()
    try:
        client.admin.validate_version(place.project, place.asset, place.version)
    except RequestFailed as error:
        problems, code = error.problems, str(error.code)
        if not problems:
            raise
    _record(client, place, time.monotonic() - started, problems, code)
    if as_json:
        terminal.print_json(common.named(place) | {"valid": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            click.echo(terminal.printable(problem))
        number = amounts.number(len(problems), "problem")
        click.echo(f"error: {quoted(str(place))} has {number}", err=True)
    else:
        click.echo(f"valid {terminal.printable(str(place))}")
    return Refused.exit_code if problems else 0


def validate_all(
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
    """Verify what is due and report problems. Returns the exit code."""
    started = time.monotonic()
    results: list[ValidationResult] = []
    with bulk.BulkBar("verifying", "versions") as bar:
        found = client.admin.validate_all(
            project,
            asset,
            since=since,
            budget=budget,
            parallel=parallel,
            restart=restart,
            progress=bar,
        )
        if not as_json:
            bulk.report_resumed(found, bar.note)

        def report() -> None:
            bar.end()
            seconds = time.monotonic() - started
            if as_json:
                terminal.print_json(_document(found, results, seconds))
            else:
                _report(found, results, seconds)

        with bulk.reported_on_failure(report):
            results.extend(found)
    report()
    return Refused.exit_code if _wrong(found, results) else 0


def _wrong(found: BulkValidation, results: list[ValidationResult]) -> list[ValidationResult]:
    """Versions with problems, from this run or an earlier one."""
    return [result for result in (*found.known_wrong, *results) if not result.is_valid]


def _report(found: BulkValidation, results: list[ValidationResult], seconds: float) -> None:
    wrong = _wrong(found, results)
    bulk.table(
        ("version", "verified", ">problems", "first problem", "try next"),
        [
            (
                result.address,
                format_time(result.finished),
                str(len(result.problems)),
                result.problems[0],
                next_command(result.address, result.code),
            )
            for result in wrong
        ],
    )
    bulk.report_skipped(found)
    files = amounts.number(sum(result.files for result in results), "file")
    size = decimal(sum(result.bytes for result in results))
    count = amounts.number(len(results), "version")
    facts = [("verified", f"{count} in {seconds:.1f} s: {files}, {size}")]
    if found.left:
        why = "the budget is used up; " if found.is_used_up else ""
        facts.append(("remaining", f"{found.left}: {why}the same command continues with them"))
    if found.done_before:
        facts.append(("not due", str(found.done_before)))
    terminal.print_facts(facts, err=True)
    if wrong:
        verb = "has" if len(wrong) == 1 else "have"
        number = amounts.number(len(wrong), "version")
        click.echo(f"error: {number} {verb} problems", err=True)


def _document(
    found: BulkValidation, results: list[ValidationResult], seconds: float
) -> dict[str, Any]:
    return {
        "resumed": None if found.resumed is None else format_time(found.resumed),
        "verified": len(results),
        "files": sum(result.files for result in results),
        "bytes": sum(result.bytes for result in results),
        "seconds": round(seconds, 3),
        "not_due": found.done_before,
        "remaining": found.left,
        "budget_used_up": found.is_used_up,
        "skipped": bulk.described_skipped(found),
        "wrong": [_described(result) for result in _wrong(found, results)],
    }


def _described(result: ValidationResult) -> dict[str, Any]:
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


def _record(
    client: Client, place: Address, seconds: float, problems: Sequence[str], code: str
) -> None:
    """Record the result of one validation; print a warning if that fails."""
    key = VersionKey(place.project, place.asset, place.version)
    try:
        client.admin.record_validation(key, seconds, tuple(problems), code)
    except GobblerError as error:
        click.echo(f"warning: {error.reason}", err=True)


def show_status(client: Client, project: str, asset: str, *, as_json: bool) -> int:
    """Show when each version was last verified. Returns the exit code."""
    known = client.admin.last_verified(project, asset)
    is_wrong = any(last is not None and not last.is_valid for last in known.values())
    code = Refused.exit_code if is_wrong else 0
    if as_json:
        terminal.print_json(
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
        return code
    rows = [
        (address, "never", "", "", "")
        if last is None
        else (
            address,
            format_time(last.finished),
            "valid" if last.is_valid else amounts.number(len(last.problems), "problem"),
            str(last.files),
            terminal.size(last.bytes),
        )
        for address, last in known.items()
    ]
    terminal.print_table(("version", "verified", "result", ">files", ">size"), rows)
    return code


def next_command(address: str, code: str) -> str:
    """The command to try next for a version whose validation ended with ``code``.

    Reindexing repairs damaged records. Other problems need a closer look first, because the
    files may differ from the published ones.
    """
    if address.count("/") < 2:
        return ""  # a directory that is nobody's project or asset
    name = shlex.quote(address)
    if code == Code.DAMAGED_RECORD:
        return f"gobbler reindex {name} && gobbler validate {name}"
    return f"gobbler validate {name}"
