"""``gobbler permissions``: show or change owners and uploaders."""

from __future__ import annotations

import functools
from typing import Any

import click
from msgspec import UNSET

from gobbler.cli import common, terminal
from gobbler.client import Asset, Client, NewPermissions, Project
from gobbler.client.address import Address, parse_as
from gobbler.errors import Missing, quoted
from gobbler.model.records import Permissions, Uploader, plain


@click.group()
def command() -> None:
    """Show or change who owns a project or an asset, and who may upload to it.

    Versions of an uploader are on probation until an owner approves it, unless the entry of
    the uploader says "trusted". An asset can have further owners and uploaders, besides those
    of its project.

    \b
    Examples:
      gobbler permissions get weather
      gobbler permissions add weather --uploader alan
      gobbler permissions add weather/stations --owner grace
      gobbler permissions remove weather --uploader alan
    """


_address = common.address("address", metavar="PROJECT[/ASSET]")
_owners = click.option("--owner", "owners", multiple=True, metavar="USER", help="An owner.")
_global_write = click.option(
    "--global-write/--no-global-write",
    default=None,
    help="Let every user add assets to the project.",
)


def _changing(function: common.Command) -> common.Command:
    """Give a command that changes permissions its arguments."""

    @_address
    @_owners
    @common.uploaders
    @common.insist
    @common.dry_run
    @common.spoof
    @common.changes
    @common.as_json
    @functools.wraps(function)
    def changing(**options: Any) -> None:  # noqa: ANN401 - passed on
        if not any(options.get(name) not in ((), None) for name in _PROPERTIES):
            raise click.UsageError("Name an owner, an uploader or another right. See --help.")
        function(**options)

    return changing


_PROPERTIES = ("owners", "uploaders", "global_write")


@command.command(short_help="Show owners and uploaders.")
@_address
@common.reads
@common.as_json
def get(client: Client, address: str, as_json: bool) -> None:
    """Show the permissions of a project, or the further ones of an asset.

    \b
    Examples:
      gobbler permissions get weather
      gobbler permissions get weather/stations --json
    """
    place = parse_as(address, "project", "asset")
    _show(place, _owned(client, place).permissions(), as_json=as_json)


@command.command(name="set")
@_global_write
@_changing
def set_(
    client: Client,
    address: str,
    owners: tuple[str, ...],
    uploaders: tuple[Uploader, ...],
    global_write: bool | None,
    force: bool,
    dry_run: bool,
    spoof: str | None,
    as_json: bool,
) -> None:
    """Replace owners or uploaders. The others stay.

    You can repeat --owner and --uploader.

    \b
    Examples:
      gobbler permissions set weather --owner ada --owner grace
      gobbler permissions set weather --no-global-write
      gobbler permissions set weather/stations --uploader \\
        '{"id": "alan", "until": "2027-01-01T00:00:00Z", "trusted": true}'
    """
    place = parse_as(address, "project", "asset")
    sent = _owned(client, place).set_permissions(
        owners=owners or None,
        uploaders=uploaders or None,
        global_write=global_write,
        append=False,
        force=force,
        spoof=spoof,
        dry_run=dry_run,
    )
    _report(client, place, sent, dry_run=dry_run, as_json=as_json)


@command.command()
@_global_write
@_changing
def add(
    client: Client,
    address: str,
    owners: tuple[str, ...],
    uploaders: tuple[Uploader, ...],
    global_write: bool | None,
    force: bool,
    dry_run: bool,
    spoof: str | None,
    as_json: bool,
) -> None:
    """Add owners or uploaders.

    You can repeat --owner and --uploader.

    \b
    Examples:
      gobbler permissions add weather --owner grace
      gobbler permissions add weather --uploader \\
        '{"id": "alan", "asset": "stations", "until": "2027-01-01T00:00:00Z"}'
    """
    place = parse_as(address, "project", "asset")
    sent = _owned(client, place).set_permissions(
        owners=owners or None,
        uploaders=uploaders or None,
        global_write=global_write,
        force=force,
        spoof=spoof,
        dry_run=dry_run,
    )
    _report(client, place, sent, dry_run=dry_run, as_json=as_json)


@command.command()
@_changing
def remove(
    client: Client,
    address: str,
    owners: tuple[str, ...],
    uploaders: tuple[Uploader, ...],
    force: bool,
    dry_run: bool,
    spoof: str | None,
    as_json: bool,
) -> None:
    """Remove owners or uploaders.

    --uploader USER removes all entries of USER. --uploader JSON removes the entries that have
    all fields of the given one.

    \b
    Examples:
      gobbler permissions remove weather --owner grace
      gobbler permissions remove weather --uploader alan
      gobbler permissions remove weather --uploader '{"id": "alan", "asset": "stations"}'
    """
    place = parse_as(address, "project", "asset")
    stored = _owned(client, place).permissions()
    sent = _owned(client, place).set_permissions(
        owners=_without_owners(place, stored, owners) if owners else None,
        uploaders=_without_uploaders(place, stored, uploaders) if uploaders else None,
        append=False,
        force=force,
        spoof=spoof,
        dry_run=dry_run,
    )
    _report(client, place, sent, dry_run=dry_run, as_json=as_json)


def _owned(client: Client, place: Address) -> Project | Asset:
    """The project or asset at ``place``."""
    project = client.project(place.project)
    return project.asset(place.asset) if place.asset else project


def _without_owners(place: Address, stored: Permissions, owners: tuple[str, ...]) -> list[str]:
    for owner in owners:
        if owner not in stored.owners:
            raise _not_listed(place, owner, "owner")
    return [owner for owner in stored.owners if owner not in owners]


def _without_uploaders(
    place: Address, stored: Permissions, uploaders: tuple[Uploader, ...]
) -> list[Uploader]:
    for uploader in uploaders:
        if not any(_matches(entry, uploader) for entry in stored.uploaders):
            raise _not_listed(place, uploader.id, "uploader")
    return [
        entry
        for entry in stored.uploaders
        if not any(_matches(entry, uploader) for uploader in uploaders)
    ]


def _matches(entry: Uploader, wanted: Uploader) -> bool:
    """Whether ``entry`` has all fields of ``wanted``."""
    return plain(wanted).items() <= plain(entry).items()


def _not_listed(place: Address, user: str, what: str) -> Missing:
    return Missing(
        f"{quoted(str(place))} has no such {what}: {quoted(user)}",
        hint=f"List them: gobbler permissions get {place}",
    )


def _report(
    client: Client, place: Address, sent: NewPermissions, *, dry_run: bool, as_json: bool
) -> None:
    """Show what would be stored, or with ``dry_run`` off, all permissions."""
    if dry_run:
        _show(place, sent, as_json=as_json)
    else:
        _show(place, _owned(client, place).permissions(), as_json=as_json)


def _show(place: Address, permissions: Permissions | NewPermissions, *, as_json: bool) -> None:
    shown = plain(permissions)
    if as_json:
        terminal.print_json(common.named(place) | shown)
        return
    fields = ("id", "asset", "version", "until")
    rows = [["owner", owner, "", "", "", ""] for owner in shown.get("owners", ())]
    for entry in shown.get("uploaders", ()):
        trusted = "trusted" if entry.get("trusted") else ""
        rows.append(["uploader", *(entry.get(field) or "" for field in fields), trusted])
    if permissions.global_write is not UNSET:
        allowed = "yes" if permissions.global_write else "no"
        rows.append(["global write", allowed, "", "", "", ""])
    terminal.print_table(["right", "user", "asset", "version", "until", ""], rows)
