"""``gobbler show``: what there is to know about one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gobbler.cli import common
from gobbler.cli.versions import Amount, below, count, describe
from gobbler.client import Client
from gobbler.client.addresses import Address, parse_as, resolve
from gobbler.client.plain import plain

LABELS = {
    "upload_user_id": "published by",
    "upload_start": "upload began",
    "upload_finish": "published",
    "on_probation": "on probation",
}


@click.command()
@common.address("address", metavar="PROJECT[/ASSET[/VERSION]]")
@common.reads
@common.as_json
def command(client: Client, address: str, as_json: bool) -> None:
    """Show what there is to know about a project, an asset or a version.

    That is who published it and when, how much is in it, and who may do what. For what is
    in it, see `gobbler ls`.

    \b
    Examples:
      gobbler show weather
      gobbler show weather/stations
      gobbler show weather/stations/@latest
    """
    place = resolve(client, parse_as(address, "project", "asset", "version"))
    if place.version:
        told = _version(client, place)
    elif place.asset:
        told = _asset(client, place)
    else:
        told = _project(client, place)
    told = common.named(place) | told | _permissions(client, place)
    if as_json:
        common.print_json(told)
    else:
        common.print_facts(_facts(told))


def _project(client: Client, place: Address) -> dict[str, Any]:
    return {"assets": len(client.assets(place.project)), "usage": client.usage(place.project)}


def _asset(client: Client, place: Address) -> dict[str, Any]:
    versions = [describe(client, key) for key in below(client, place)]
    return {
        "versions": len(versions),
        "on_probation": sum(version.get("on_probation", False) for version in versions),
        "latest": client.latest(place.project, place.asset),
    }


def _version(client: Client, place: Address) -> dict[str, Any]:
    names = (place.project, place.asset, place.version)
    summary = client.summary(*names)
    stored, linked = count(client.manifest(*names))
    return plain(summary) | {
        "on_probation": summary.on_probation,
        "latest": client.latest(place.project, place.asset) == place.version,
        "stored": stored._asdict(),
        "linked": linked._asdict(),
    }


def _permissions(client: Client, place: Address) -> dict[str, Any]:
    told = {"permissions": plain(client.permissions(place.project))}
    if place.asset:
        told["asset_permissions"] = plain(client.permissions(place.project, place.asset))
    return told


def _facts(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in told.items():
        if name == "permissions":
            yield from _rights(value, "")
        elif name == "asset_permissions":
            yield from _rights(value, " of the asset")
        else:
            yield LABELS.get(name, name), _text(name, value)


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a JSON document
    if name == "usage":
        return common.size(value)
    if isinstance(value, dict):
        return str(Amount(**value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _rights(permissions: dict[str, Any], whose: str) -> Iterator[tuple[str, str]]:
    if permissions["owners"]:
        yield f"owners{whose}", ", ".join(permissions["owners"])
    for uploader in permissions["uploaders"]:
        limits = [
            f"{what} {uploader[what]}" for what in ("asset", "version", "until") if what in uploader
        ]
        limits += ["trusted"] if uploader.get("trusted") else []
        yield f"uploader{whose}", ", ".join([uploader["id"], *limits])
    if "global_write" in permissions:
        yield "global write", "yes" if permissions["global_write"] else "no"
