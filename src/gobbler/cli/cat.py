"""``gobbler cat``: print a file."""

from __future__ import annotations

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.client.address import parse
from gobbler.client.client import resolve_latest
from gobbler.errors import Code, Refused, quoted


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION/PATH")
@common.reads
def command(client: Client, address: str) -> None:
    """Print a file of a version, unchanged.

    On a terminal, control characters are shown escaped: it would obey them.
    Where the registry is not mounted, the command first fetches the whole file into the cache.

    \b
    Examples:
      gobbler cat weather/stations/@latest/README
      gobbler cat weather/stations/1.2/2026/berlin.csv | head
      gobbler cat weather/stations/1.2/..manifest
    """
    place = resolve_latest(client, parse(address))
    version = client.version(place.project, place.asset, place.version) if place.path else None
    if version is None or version.is_directory(place.path):
        raise Refused(
            f"{quoted(address)} is not the address of a file",
            code=Code.INVALID_ADDRESS,
            hint=f"List files: gobbler ls {place}".rstrip(),
        )
    with open(client.fetch_file(str(place)), "rb") as file:
        terminal.print_content(file)
