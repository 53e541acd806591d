"""``gobbler show``: what there is to know about one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gobbler.cli import common
from gobbler.cli.amounts import Amount, below, count, describe
from gobbler.client import Client
from gobbler.client.address import Address, parse_as, resolve
from gobbler.model.records import plain

LABELS = {
    "upload_user_id": "published by",
    "upload_start": "upload began",
    "upload_finish": "published",
    "on_probation": "on probation",
}


@click.command()
@common.address("address", metavar="PROJECT[/ASSET[/VERSION]]")
@click.option("--links", is_flag=True, help="What is linked to a version, or has its content.")
@common.reads
@common.as_json
def command(client: Client, address: str, links: bool, as_json: bool) -> None:
    """Show what there is to know about a project, an asset or a version.

    That is who published it and when, how much is in it, and who may do what. For what is
    in it, see `gobbler ls`.

    With --links: each link of another version that leads into this one, whether a copy or
    another link would have to take its place if this one were deleted, to which file it leads,
    and the bytes that this would add; and the other versions that have some of the same
    content, with how many different contents that are, their bytes, and how many of these are
    stored there rather than linked.

    \b
    Examples:
      gobbler show weather
      gobbler show weather/stations
      gobbler show weather/stations/@latest
      gobbler show --links weather/stations/1.0
    """
    if links:
        _show_links(client, resolve(client, parse_as(address, "version")), as_json=as_json)
        return
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


def _show_links(client: Client, place: Address, *, as_json: bool) -> None:
    found = client.version(place.project, place.asset, place.version).relations()
    if as_json:
        common.print_json(common.named(place) | plain(found))
        return
    links = [
        [each.path, "copy" if each.copy else "link", each.source, common.size(each.usage)]
        for each in found.links
    ]
    shared = [
        [each.version, str(each.files), common.size(each.size), common.size(each.stored)]
        for each in found.shared
    ]
    if not common.for_people():
        # One list of lines for scripts that cut fields; the first tells what a line is about.
        common.print_table([], [["link", *row] for row in links] + [["shared", *r] for r in shared])
        return
    if links:
        common.print_table(["link", "would become", "leads to", ">added"], links)
    else:
        click.echo("no link of another version leads here")
    click.echo()
    if shared:
        common.print_table(["same content in", ">contents", ">size", ">stored there"], shared)
    else:
        click.echo("no other version has any of this content")


def _project(client: Client, place: Address) -> dict[str, Any]:
    project = client.project(place.project)
    return {"assets": len(project), "usage": project.usage()}


def _asset(client: Client, place: Address) -> dict[str, Any]:
    latest = client.asset(place.project, place.asset).latest()
    versions = [describe(version) for version in below(client, place)]
    return {
        "versions": len(versions),
        "on_probation": sum(version.get("on_probation", False) for version in versions),
        "latest": None if latest is None else latest.name,
    }


def _version(client: Client, place: Address) -> dict[str, Any]:
    version = client.version(place.project, place.asset, place.version)
    summary = version.summary()
    stored, linked = count(version.manifest())
    return plain(summary) | {
        "on_probation": summary.on_probation,
        "latest": version.asset.latest() == version,
        "stored": stored._asdict(),
        "linked": linked._asdict(),
    }


def _permissions(client: Client, place: Address) -> dict[str, Any]:
    told = {"permissions": plain(client.project(place.project).permissions())}
    if place.asset:
        told["asset_permissions"] = plain(client.asset(place.project, place.asset).permissions())
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
