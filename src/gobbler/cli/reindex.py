"""``gobbler reindex``: the records of what is in a version, made anew."""

from __future__ import annotations

import click

from gobbler.cli import common
from gobbler.cli.versions import count
from gobbler.client import Client
from gobbler.client.addresses import parse_as, resolve


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@common.changes
@common.as_json
def command(client: Client, address: str, as_json: bool) -> None:
    """Make the manifest and the links of a version anew from the files that are there.

    For when they are damaged, or after an administrator has put files into the version.
    Usage is not counted anew: see `gobbler refresh usage`. Only administrators of the
    service may.

    \b
    Examples:
      gobbler reindex weather/stations/1.2
      gobbler reindex weather/stations/@latest
    """
    place = resolve(client, parse_as(address, "version"))
    version = (place.project, place.asset, place.version)
    client.reindex_version(*version)
    stored, linked = count(client.manifest(*version, overwrite=True))
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
