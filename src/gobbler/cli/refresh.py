"""``gobbler refresh``: what is recorded about a project or an asset, found anew."""

from __future__ import annotations

import click

from gobbler.cli import common
from gobbler.client import Client
from gobbler.client.addresses import parse_as


@click.group()
def command() -> None:
    """Find anew which version is the latest, or how much a project takes.

    That puts a damaged record right. Only administrators of the service may.

    \b
    Examples:
      gobbler refresh latest weather/stations
      gobbler refresh usage weather
    """


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
    version = client.refresh_latest(place.project, place.asset)
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
    total = client.refresh_usage(place.project)
    if as_json:
        common.print_json(common.named(place) | {"usage": total})
    else:
        click.echo(common.size(total))
