"""``gobbler doctor``: check that two directories are fit for a service."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from gobbler.cli import common, terminal
from gobbler.cli.signals import stopping_cleanly
from gobbler.doctor.examination import examine
from gobbler.doctor.findings import Finding, Verdict, worst
from gobbler.doctor.host import as_account, current_account

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAULT: "bold red"}


@click.command()
@click.option(
    "--staging",
    required=True,
    envvar="GOBBLER_STAGING",
    metavar="DIR",
    help="The staging directory.  [GOBBLER_STAGING]",
)
@click.option(
    "--registry",
    required=True,
    envvar="GOBBLER_REGISTRY",
    metavar="DIR",
    help="The registry.  [GOBBLER_REGISTRY]",
)
@click.option(
    "--user",
    metavar="NAME",
    help="Examine as the account that runs the service. Needs root.",
)
@common.as_json
def command(staging: str, registry: str, user: str | None, as_json: bool) -> int:
    """Check a staging directory and a registry, and show how to repair what is wrong.

    The doctor tries out permissions, links, locks, clocks and names on both filesystems. It
    removes its own files afterwards, and touches no version: you can run it while the
    service runs. Exit code 1: there is a fault.

    \b
    Example:
      sudo gobbler doctor --user gobbler --staging /data/staging --registry /data/registry
    """
    directories = (os.path.abspath(staging), os.path.abspath(registry))
    with stopping_cleanly():
        findings = as_account(user, examine, *directories) if user else examine(*directories)
    verdict = worst(findings)
    if as_json:
        terminal.print_json(
            {
                "staging": directories[0],
                "registry": directories[1],
                "account": user or current_account(),
                "verdict": verdict,
                "findings": [finding._asdict() for finding in findings],
            }
        )
    elif sys.stdout.isatty():
        _print_table(findings)
    else:
        rows = [[f.verdict.value, f.where, f.what, f.sentence, f.remedy] for f in findings]
        terminal.print_table(["verdict", "where", "what", "found", "remedy"], rows)
    return int(verdict is Verdict.FAULT)


def _print_table(findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "where", "what"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        found = Text(terminal.printable(finding.sentence))
        if finding.remedy:
            found.append(f"\n→ {terminal.printable(finding.remedy)}", "italic")
        mark = Text(finding.verdict.value, _STYLES[finding.verdict])
        where, what = Text(terminal.printable(finding.where)), Text(finding.what)
        table.add_row(mark, where, what, found)
    terminal.print_rich(table)
    terminal.print_rich(Text(f"\n{_summary(findings)}", "bold"))


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    faults, warnings = counts[Verdict.FAULT], counts[Verdict.WARNING]
    if not faults and not warnings:
        return "No problems."
    counted = f"{_number(faults, 'fault')}, {_number(warnings, 'warning')}."
    if any(finding.refused for finding in findings):
        return f"{counted} With these directories, gobbler serve does not start."
    return counted


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
