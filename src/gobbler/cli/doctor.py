"""``gobbler doctor``: are these directories fit for the service?"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gobbler.cli import common
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
    help="Probe as this account, the one that runs the service. Only root can.",
)
@common.as_json
def command(staging: str, registry: str, user: str | None, as_json: bool) -> int:
    """Say what is wrong with a staging directory and a registry, and how to mend it.

    Permissions, links, locks, clocks and names of both filesystems are tried out by the
    account that runs this; what is made for that is removed again, and no version is
    touched. It may be done while the service runs. Exit code 1: there is a fault.

    \b
    Example:
      sudo gobbler doctor --user gobbler --staging /data/staging --registry /data/registry
    """
    directories = (os.path.abspath(staging), os.path.abspath(registry))
    with stopping_cleanly():
        findings = as_account(user, examine, *directories) if user else examine(*directories)
    verdict = worst(findings)
    if as_json:
        common.print_json(
            {
                "staging": directories[0],
                "registry": directories[1],
                "account": user or current_account(),
                "verdict": verdict,
                "findings": findings,
            }
        )
    elif sys.stdout.isatty():
        _print_for_people(findings)
    else:
        rows = [[f.verdict.value, f.where, f.what, f.sentence, f.remedy] for f in findings]
        common.print_table(["verdict", "where", "what", "found", "remedy"], rows)
    return int(verdict is Verdict.FAULT)


def _print_for_people(findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "where", "what"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        found = Text(common.printable(finding.sentence))
        if finding.remedy:
            found.append(f"\n→ {common.printable(finding.remedy)}", "italic")
        mark = Text(finding.verdict.value, _STYLES[finding.verdict])
        table.add_row(mark, finding.where, finding.what, found)
    console = Console()
    console.print(table)
    console.print(Text(f"\n{_summary(findings)}", "bold"))


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    faults, warnings = counts[Verdict.FAULT], counts[Verdict.WARNING]
    if not faults and not warnings:
        return "All is well."
    told = f"{_number(faults, 'fault')}, {_number(warnings, 'warning')}."
    if any(finding.refused for finding in findings):
        return f"{told} With these directories, gobbler serve refuses to start."
    return told


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
