"""``gobbler probation``: list, approve or reject versions on probation."""

from __future__ import annotations

from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import below, describe
from gobbler.client import Client
from gobbler.client.address import parse, parse_as
from gobbler.client.client import resolve_latest
from gobbler.errors import Code, Refused, quoted


@click.group()
def command() -> None:
    """Review versions on probation: published and readable, but not final.

    Such a version is never the latest, and no version can link to it. Owners of the project
    or the asset approve or reject it. Its uploader can reject it, too.

    \b
    Examples:
      gobbler probation list weather
      gobbler ls weather/stations/2.0-beta
      gobbler probation approve weather/stations/2.0-beta
    """


@command.command(name="list", short_help="List all versions on probation.")
@common.address("address", metavar="[PROJECT[/ASSET]]", default="")
@common.reads
@common.as_json
def list_(client: Client, address: str, as_json: bool) -> None:
    """List all versions on probation, of the registry, a project or an asset.

    \b
    Examples:
      gobbler probation list
      gobbler probation list weather
    """
    place = parse(address)
    if place.depth > 2:
        raise Refused(
            f"{quoted(address)} is not the address of a project or an asset",
            code=Code.INVALID_ADDRESS,
            hint=f"To see one version: gobbler show {place}",
        )
    found: list[dict[str, Any]] = []
    for version in below(client, place):
        described = describe(version)
        if described.get("on_probation", True):
            key = version.key
            names = {"project": key.project, "asset": key.asset, "version": key.version}
            found.append(names | described)
    if as_json:
        terminal.print_json({"versions": found})
        return
    rows = [
        [
            f"{each['project']}/{each['asset']}/{each['version']}",
            each.get("upload_finish", ""),
            each.get("upload_user_id", ""),
            each.get("problem", ""),
        ]
        for each in found
    ]
    terminal.print_table(["version", "published", "by", ""], rows)


@command.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@common.spoof
@common.changes
@common.as_json
def approve(client: Client, address: str, spoof: str | None, as_json: bool) -> None:
    """Approve a version on probation: it becomes final.

    It also becomes the latest version, unless a later upload is final already.

    \b
    Example:
      gobbler probation approve weather/stations/2.0-beta
    """
    place = resolve_latest(client, parse_as(address, "version"))
    client.version(place.project, place.asset, place.version).approve(spoof=spoof)
    common.print_done("approved", place, as_json=as_json)


@command.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.option("--force", is_flag=True, help="Reject it even if its records can't be read.")
@common.spoof
@common.changes
@common.as_json
def reject(client: Client, address: str, force: bool, spoof: str | None, as_json: bool) -> None:
    """Reject a version on probation: it is deleted permanently.

    \b
    Example:
      gobbler probation reject weather/stations/2.0-beta
    """
    place = resolve_latest(client, parse_as(address, "version"))
    client.version(place.project, place.asset, place.version).reject(force=force, spoof=spoof)
    common.print_done("rejected", place, as_json=as_json)
