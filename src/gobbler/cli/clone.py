"""``gobbler clone``: the start of a next version."""

from __future__ import annotations

import os

import click

from gobbler.cli import common
from gobbler.client import Client
from gobbler.client.address import parse_as, resolve
from gobbler.client.export import check_free


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.argument("directory", type=click.Path())
@common.reads
@common.as_json
def command(client: Client, address: str, directory: str, as_json: bool) -> None:
    """Make DIRECTORY a tree of links to the files of a version, and print where it is.

    That is the cheap start of a next version: remove the links of what changes, write new
    files in their place, and upload the result. What is still a link takes no space. It
    needs the registry to be mounted.

    \b
    Example:
      gobbler clone weather/stations/@latest ./next
      rm ./next/berlin.csv; cp ~/berlin.csv ./next
      gobbler upload ./next weather/stations/1.4
    """
    place = resolve(client, parse_as(address, "version"))
    path = os.path.abspath(directory)
    check_free(path)
    client.version(place.project, place.asset, place.version).clone(path)
    if as_json:
        common.print_json({"address": str(place), "path": path})
    else:
        click.echo(path)
