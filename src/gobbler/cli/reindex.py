"""``gobbler reindex``: the records of what is in a version, made anew."""

from __future__ import annotations

import sys

import click

from gobbler.cli import bulk, common
from gobbler.cli.amounts import count
from gobbler.cli.bulk import repair
from gobbler.client import BulkRepair, Client
from gobbler.client.address import parse, parse_as, resolve
from gobbler.errors import Cancelled, Code, Refused, quoted


@click.command()
@common.address("address", metavar="[PROJECT[/ASSET[/VERSION]]]", default="")
@bulk.everything
@bulk.parallel
@bulk.restart
@click.option("--yes", "-y", is_flag=True, help="With --all: don't ask.")
@click.option(
    "--dry-run", is_flag=True, help="With --all: change nothing; list what would be reindexed."
)
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
    """Make the manifest and the links of a version anew from the files that are there.

    For when they are damaged, or after an administrator has put files into the version.
    Usage is not counted anew: see `gobbler refresh`. Only administrators of the service may.

    With --all it goes over all versions of the registry, or of PROJECT or PROJECT/ASSET, and
    asks first: files that are damaged would be recorded as they are now, so that nobody
    could find out any more. Have them verified before: gobbler validate --all. What is done
    is kept in your state directory: the same command goes on where it was stopped. It ends
    with 1 if some could not be reindexed.

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
        raise click.UsageError("There is nobody to ask whether to reindex all: say --yes.")

    def confirm(planned: BulkRepair) -> None:
        if not as_json:
            bulk.tell_resumed(planned)
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
        common.print_json(
            {"dry_run": True, "done_before": planned.done_before, "versions": addresses}
        )
        return
    bulk.tell_resumed(planned)
    for address in addresses:
        click.echo(f"would reindex {common.printable(address)}")


def _ask(planned: BulkRepair) -> None:
    number = bulk.number(len(planned.tasks), "version")
    click.echo(
        f"{number} would be recorded as the files are now. What is damaged can't be told from "
        "what was published any more.",
        err=True,
    )
    if not click.confirm("Reindex them?", err=True):
        raise Cancelled("nothing was reindexed")


def _reindex(client: Client, address: str, *, as_json: bool) -> None:
    if not address:
        raise click.UsageError("Say which version, or --all.")
    if parse(address).depth in (1, 2):
        raise Refused(
            f"{quoted(address)} is not the address of a version",
            code=Code.INVALID_ADDRESS,
            hint=f"For all that are in it: gobbler reindex --all {address}",
        )
    place = resolve(client, parse_as(address, "version"))
    version = client.version(place.project, place.asset, place.version)
    client.admin.reindex_version(place.project, place.asset, place.version)
    stored, linked = count(version.manifest(overwrite=True))
    if as_json:
        common.print_json(
            common.named(place)
            | {
                "stored": stored._asdict(),
                "linked": linked._asdict(),
            }
        )
        return
    common.print_facts(
        [("reindexed", str(place)), ("stored", str(stored)), ("linked", str(linked))]
    )
