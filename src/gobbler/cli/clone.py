"""``gobbler clone``: prepare the next version as a tree of links."""

from __future__ import annotations

import os

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.client.address import parse_as
from gobbler.client.client import resolve_latest
from gobbler.client.export import check_free


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.argument("directory", type=click.Path())
@common.reads
@common.as_json
def command(client: Client, address: str, directory: str, as_json: bool) -> None:
    """Fill DIRECTORY with links to the files of a version, and print its path.

    Use it to prepare the next version: replace the links to files that change, and upload
    the result. The remaining links take no space. This needs the registry on this machine.

    \b
    Example:
      gobbler clone weather/stations/@latest ./next
      rm ./next/berlin.csv; cp ~/berlin.csv ./next
      gobbler upload ./next weather/stations/1.4
    """
    place = resolve_latest(client, parse_as(address, "version"))
    path = os.path.abspath(directory)
    check_free(path)
    client.version(place.project, place.asset, place.version).clone(path)
    if as_json:
        terminal.print_json({"address": str(place), "path": path})
    else:
        terminal.print_path(path)
