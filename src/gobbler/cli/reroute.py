"""``gobbler reroute``: lead links around what is going to be deleted."""

from __future__ import annotations

import click

from gobbler.cli import common
from gobbler.client import Client
from gobbler.client.address import doomed, parse_as, resolve
from gobbler.model.records import plain


@click.command()
@common.address("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@common.dry_run
@common.changes
@common.as_json
def command(client: Client, addresses: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Lead the links of other versions around projects, assets or versions.

    Do this before these are deleted. A link is made to point to where its target was linked
    to itself, or where nothing of that stays, it is replaced by a copy of the file. Each
    link is printed with what becomes of it, the file that is going to be deleted, and the
    bytes that this adds. Only administrators of the service may.

    Name all that is to go in one call, and then delete the newest first: links between
    them are left alone.

    \b
    Examples:
      gobbler reroute --dry-run weather/stations/1.0
      gobbler reroute weather/stations/1.0 weather/stations/1.1
      gobbler delete weather/stations/1.1
      gobbler delete weather/stations/1.0
    """
    places = [
        resolve(client, parse_as(address, "project", "asset", "version")) for address in addresses
    ]
    changes = client.admin.reroute_links([doomed(place) for place in places], dry_run=dry_run)
    if as_json:
        common.print_json({"dry_run": dry_run, "changes": [plain(each) for each in changes]})
        return
    if not changes:
        click.echo("no link of another version leads there", err=True)
        return
    rows = [
        [
            each.path,
            "copy" if each.copy else "link",
            each.source,
            common.size(each.usage),
        ]
        for each in changes
    ]
    common.print_table(["link", "becomes", "because of", ">added"], rows)
