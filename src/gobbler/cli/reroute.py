"""``gobbler reroute``: redirect links before you delete their targets."""

from __future__ import annotations

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.client.address import deletion_target, parse_as
from gobbler.client.client import resolve_latest
from gobbler.model.records import plain


@click.command()
@common.address("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@common.dry_run
@common.changes
@common.as_json
def command(client: Client, addresses: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Redirect links of other versions away from projects, assets or versions.

    Do this before you delete them. Where the target of a link is itself a link, the link then leads
    to the file behind it; otherwise, a copy of the file replaces the link. The command prints each
    link, what it becomes, the file to be deleted, and the bytes that this adds. Only administrators
    of the service can do this.

    Name everything that you want to delete in one call: links between these stay. Then
    delete the newest first.

    \b
    Examples:
      gobbler reroute --dry-run weather/stations/1.0
      gobbler reroute weather/stations/1.0 weather/stations/1.1
      gobbler delete weather/stations/1.1
      gobbler delete weather/stations/1.0
    """
    places = [
        resolve_latest(client, parse_as(address, "project", "asset", "version"))
        for address in addresses
    ]
    changes = client.admin.reroute_links(
        [deletion_target(place) for place in places], dry_run=dry_run
    )
    if as_json:
        terminal.print_json({"dry_run": dry_run, "changes": [plain(each) for each in changes]})
        return
    if not changes:
        click.echo("no other version has a link there", err=True)
        return
    rows = [
        [
            each.path,
            "copy" if each.copy else "link",
            each.source,
            terminal.size(each.usage),
        ]
        for each in changes
    ]
    terminal.print_table(["link", "becomes", "because of", ">added"], rows)
