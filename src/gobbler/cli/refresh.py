"""``gobbler refresh``: recompute the latest version or the usage."""

from __future__ import annotations

import click

from gobbler.cli import bulk, common, terminal
from gobbler.cli.bulk import repair
from gobbler.client import Client
from gobbler.client.address import parse_as

ALL = "--all"


class _WithAll(click.Group):
    """A group in which ``--all``, at any position, is a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index(ALL)] if ALL in args else args
        if ALL in args and not set(before) & set(self.commands):
            rest = [word for word in args if word != ALL]
            args = ["--", ALL, *rest]
        return super().parse_args(ctx, args)


@click.group(cls=_WithAll)
def command() -> None:
    """Recompute the latest version of an asset, or the usage of a project.

    Use it to repair a damaged record. Only administrators of the service can do this.

    \b
    Examples:
      gobbler refresh latest weather/stations
      gobbler refresh usage weather
      gobbler refresh --all
    """


@command.command(ALL, short_help="Recompute both for all projects and assets.")
@common.address("address", metavar="[PROJECT[/ASSET]]", default="")
@bulk.parallel
@bulk.restart
@common.changes
@common.as_json
def everything(client: Client, address: str, parallel: int, restart: bool, as_json: bool) -> int:
    """Recompute the usage of every project and the latest version of every asset.

    Limit it to PROJECT, or to the latest version of PROJECT/ASSET. Your state directory
    (XDG_STATE_HOME) records what is done: after an interruption, the same command continues.
    Failures don't stop the rest; the command lists them at the end. Exit code 1: something
    failed.

    \b
    Examples:
      gobbler refresh --all
      gobbler refresh --all weather --json
    """
    project, asset = bulk.scope(address)
    return repair(
        lambda bar: client.admin.refresh_all(
            project, asset, parallel=parallel, restart=restart, progress=bar
        ),
        "refreshing",
        "refreshed",
        unit="record",
        as_json=as_json,
        confirm=(lambda _: None) if as_json else bulk.report_resumed,
    )


@command.command()
@common.address("address", metavar="PROJECT/ASSET")
@common.changes
@common.as_json
def latest(client: Client, address: str, as_json: bool) -> None:
    """Recompute the latest version of an asset, and print it.

    \b
    Example:
      gobbler refresh latest weather/stations
    """
    place = parse_as(address, "asset")
    version = client.admin.refresh_latest(place.project, place.asset)
    if as_json:
        terminal.print_json(common.named(place) | {"version": version})
    elif version is None:
        click.echo(f"{terminal.printable(str(place))} has no final version", err=True)
    else:
        click.echo(terminal.printable(version))


@command.command()
@click.argument("project")
@common.changes
@common.as_json
def usage(client: Client, project: str, as_json: bool) -> None:
    """Recompute the usage of a project, and print it.

    \b
    Example:
      gobbler refresh usage weather
    """
    place = parse_as(project, "project")
    total = client.admin.refresh_usage(place.project)
    if as_json:
        terminal.print_json(common.named(place) | {"usage": total})
    else:
        click.echo(terminal.size(total))
