"""``gobbler probation``: list, approve or reject versions on probation."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import below, count, describe, reason_of
from gobbler.client import Client, Version, shown_digests
from gobbler.client.address import parse, parse_as
from gobbler.client.client import resolve_latest
from gobbler.client.shown_versions import Review
from gobbler.errors import Code, GobblerError, Refused, quoted


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
      gobbler probation approve weather/stations/2.0-beta --digest 9f86d081...
    """


@command.command(name="list", short_help="List all versions on probation.")
@common.address("address", metavar="[PROJECT[/ASSET]]", default="")
@common.reads
@common.as_json
def list_(client: Client, address: str, as_json: bool) -> None:
    """List all versions on probation, of the registry, a project or an asset.

    The digest names the state of a version: review it, then give its digest to 'gobbler
    probation approve'.

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
            found.append(names | described | _digest(client, version))
    if as_json:
        terminal.print_json({"versions": found})
        return
    rows = [
        [
            f"{each['project']}/{each['asset']}/{each['version']}",
            each.get("upload_finish", ""),
            each.get("upload_user_id", ""),
            each.get("problem", ""),
            each.get("digest", ""),
        ]
        for each in found
    ]
    terminal.print_table(["version", "published", "by", "", "digest"], rows)


def _digest(client: Client, version: Version) -> dict[str, Any]:
    """The digest of a version; under ``problem`` why its records can't be read."""
    try:
        return {"digest": common.shown_digest(client, version)}
    except (GobblerError, OSError) as error:
        return {"problem": reason_of(error)}


@command.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.option(
    "--digest",
    metavar="DIGEST",
    help="Approve only what has this digest, as 'probation list' and 'show' print it. "
    "Default: the one that they printed last on this account.",
)
@common.spoof
@common.changes
@common.as_json
def approve(
    client: Client, address: str, digest: str | None, spoof: str | None, as_json: bool
) -> None:
    """Approve a version on probation: it becomes final.

    It also becomes the latest version, unless a later upload is final already. The command
    shows what it approves.

    Its uploader can reject a version and upload another one of the same name, also while you
    review it. So only what 'probation list' or 'show' has shown you last is approved, or what has
    the given --digest. If you have not looked at it, what is there now is approved.

    \b
    Examples:
      gobbler probation approve weather/stations/2.0-beta
      gobbler probation approve weather/stations/2.0-beta --digest 9f86d081...
    """
    place = resolve_latest(client, parse_as(address, "version"))
    version = client.version(place.project, place.asset, place.version)
    shown: dict[str, object] = {}
    lines: list[str] = []
    if digest is None:
        digest = shown_digests.last(str(client.connection), str(place))
    if client.connection.can_read:
        with contextlib.suppress(GobblerError):  # the service says what is wrong
            shown, lines = _approved(version.review())
    version.approve(reviewed=digest, spoof=spoof)
    shown_digests.forget(str(client.connection), str(place))
    if as_json:
        terminal.print_json(common.named(place) | shown)
    else:
        click.echo("\n".join([f"approved {terminal.printable(str(place))}", *lines]))


def _approved(review: Review) -> tuple[dict[str, object], list[str]]:
    """What is approved, as a JSON document and as lines."""
    stored, linked = count(review.manifest)
    summary = review.summary
    described: dict[str, object] = {
        "upload_user_id": summary.upload_user_id,
        "upload_finish": summary.upload_finish,
        "stored": stored._asdict(),
        "linked": linked._asdict(),
        "digest": review.digest,
    }
    user = terminal.printable(summary.upload_user_id)
    lines = [
        f"uploaded  {terminal.printable(summary.upload_finish)} by {user}",
        f"stored    {stored}",
        f"linked    {linked}",
        f"digest    {review.digest}",
    ]
    return described, lines


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
