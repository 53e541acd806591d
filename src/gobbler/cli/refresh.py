"""``gobbler refresh``: what is recorded about a project or an asset, found anew."""

from __future__ import annotations

import click

from gobbler.cli import bulk, common
from gobbler.cli.bulk import repair
from gobbler.client import Client
from gobbler.client.address import parse_as

ALL = "--all"


class _WithAll(click.Group):
    """A group in which ``--all`` stands for a command, wherever it stands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index(ALL)] if ALL in args else args
        if ALL in args and not set(before) & set(self.commands):
            rest = [word for word in args if word != ALL]
            args = ["--", ALL, *rest]
        return super().parse_args(ctx, args)


@click.group(cls=_WithAll)
def command() -> None:
    """Find anew which version is the latest, or how much a project takes.

    That puts a damaged record right. Only administrators of the service may.

    \b
    Examples:
      gobbler refresh latest weather/stations
      gobbler refresh usage weather
      gobbler refresh --all
    """


@command.command(ALL, short_help="Both, of all projects and assets.")
@common.address("address", metavar="[PROJECT[/ASSET]]", default="")
@bulk.parallel
@bulk.restart
@common.changes
@common.as_json
def everything(client: Client, address: str, parallel: int, restart: bool, as_json: bool) -> int:
    """Find anew the usage of every project and the latest version of every asset.

    Or those of PROJECT, or the latest version of PROJECT/ASSET. What is done is kept in your
    state directory (XDG_STATE_HOME): the same command goes on where it was stopped. What
    fails does not keep the rest from being done; it is told in the end, which is with 1 then.

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
        confirm=(lambda _: None) if as_json else bulk.tell_resumed,
    )


@command.command()
@common.address("address", metavar="PROJECT/ASSET")
@common.changes
@common.as_json
def latest(client: Client, address: str, as_json: bool) -> None:
    """Find anew which version of an asset is the latest, and print it.

    \b
    Example:
      gobbler refresh latest weather/stations
    """
    place = parse_as(address, "asset")
    version = client.admin.refresh_latest(place.project, place.asset)
    if as_json:
        common.print_json(common.named(place) | {"version": version})
    elif version is None:
        click.echo(f"{common.printable(str(place))} has no version that is final", err=True)
    else:
        click.echo(common.printable(version))


@command.command()
@click.argument("project")
@common.changes
@common.as_json
def usage(client: Client, project: str, as_json: bool) -> None:
    """Count anew how much a project takes, and print it.

    \b
    Example:
      gobbler refresh usage weather
    """
    place = parse_as(project, "project")
    total = client.admin.refresh_usage(place.project)
    if as_json:
        common.print_json(common.named(place) | {"usage": total})
    else:
        click.echo(common.size(total))
