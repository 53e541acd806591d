"""``gobbler reindex``: rebuild the records of a version from its files."""

from __future__ import annotations

import sys

import click

from gobbler.cli import amounts, bulk, common, terminal
from gobbler.cli.amounts import count
from gobbler.cli.bulk import repair
from gobbler.client import BulkRepair, Client
from gobbler.client.address import parse, parse_as
from gobbler.client.client import resolve_latest
from gobbler.errors import Cancelled, Code, Refused, quoted


@click.command()
@common.address("address", metavar="[PROJECT[/ASSET[/VERSION]]]", default="")
@bulk.everything
@bulk.parallel
@bulk.restart
@click.option("--yes", "-y", is_flag=True, help="With --all: don't ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="With --all: change nothing; list the versions.")
@common.changes
@common.as_json
def command(
    client: Client,
    address: str,
    everything: bool,
    parallel: int,
    restart: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Rebuild the manifest and the link records of a version from its files.

    Use it when these records are damaged, or after an administrator added files to the
    version. Then update the usage with `gobbler refresh usage`. Only administrators of the
    service can do this.

    Before --all, run `gobbler validate --all`: reindexing records damaged files as they are,
    and nobody can find the damage later. The command asks for confirmation. Your state
    directory records what is done: after an interruption, the same command continues. Exit
    code 1: some versions failed.

    \b
    Examples:
      gobbler reindex weather/stations/1.2
      gobbler reindex weather/stations/@latest
      gobbler reindex --all weather --dry-run
      gobbler reindex --all weather --yes
    """
    options = {"parallel": parallel, "restart": restart, "yes": yes, "dry_run": dry_run}
    if not everything:
        bulk.only_with_all(options)
        _reindex(client, address, as_json=as_json)
        return 0
    project, asset = bulk.scope(address)
    if dry_run:
        planned = client.admin.reindex_all(project, asset, restart=restart)
        _list(planned, as_json=as_json)
        return 0
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("Confirm with --yes: the input is not a terminal.")

    def confirm(planned: BulkRepair) -> None:
        if not as_json:
            bulk.report_resumed(planned)
        if not yes and planned.tasks:
            _ask(planned)

    return repair(
        lambda bar: client.admin.reindex_all(
            project, asset, parallel=parallel, restart=restart, progress=bar
        ),
        "reindexing",
        "reindexed",
        unit="version",
        as_json=as_json,
        confirm=confirm,
    )


def _list(planned: BulkRepair, *, as_json: bool) -> None:
    addresses = [task.partition("/")[2] for task in planned.tasks]
    if as_json:
        terminal.print_json(
            {"dry_run": True, "done_before": planned.done_before, "versions": addresses}
        )
        return
    bulk.report_resumed(planned)
    for address in addresses:
        click.echo(f"would reindex {terminal.printable(address)}")


def _ask(planned: BulkRepair) -> None:
    number = amounts.number(len(planned.tasks), "version")
    click.echo(
        f"This records the present files of {number}. If some are damaged, nobody can find that "
        "out later.",
        err=True,
    )
    if not click.confirm("Reindex them?", err=True):
        raise Cancelled("nothing was reindexed")


def _reindex(client: Client, address: str, *, as_json: bool) -> None:
    if not address:
        raise click.UsageError("Name a version, or use --all.")
    if parse(address).depth in (1, 2):
        raise Refused(
            f"{quoted(address)} is not the address of a version",
            code=Code.INVALID_ADDRESS,
            hint=f"For all versions in it: gobbler reindex --all {address}",
        )
    place = resolve_latest(client, parse_as(address, "version"))
    version = client.version(place.project, place.asset, place.version)
    client.admin.reindex_version(place.project, place.asset, place.version)
    stored, linked = count(version.manifest(overwrite=True))
    if as_json:
        terminal.print_json(
            common.named(place)
            | {
                "stored": stored._asdict(),
                "linked": linked._asdict(),
            }
        )
        return
    terminal.print_facts(
        [("reindexed", str(place)), ("stored", str(stored)), ("linked", str(linked))]
    )
