"""``gobbler show``: show details of a project, an asset or a version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import Amount, below, count, describe
from gobbler.client import Client
from gobbler.client.address import Address, parse_as
from gobbler.client.client import resolve_latest
from gobbler.model.records import plain

LABELS = {
    "upload_user_id": "published by",
    "upload_start": "upload began",
    "upload_finish": "published",
    "on_probation": "on probation",
}


@click.command()
@common.address("address", metavar="PROJECT[/ASSET[/VERSION]]")
@click.option("--links", is_flag=True, help="Show links into a version, and shared content.")
@common.reads
@common.as_json
def command(client: Client, address: str, links: bool, as_json: bool) -> None:
    """Show details of a project, an asset or a version.

    The details are publisher, dates, size and permissions. To list files, use `gobbler ls`.

    With --links, the command shows each link of another version into this one, what
    `gobbler reroute` would replace it with, its target, and the bytes that this adds. Then it
    shows the other versions with the same content: how many different contents, their bytes,
    and the bytes stored there.

    \b
    Examples:
      gobbler show weather
      gobbler show weather/stations
      gobbler show weather/stations/@latest
      gobbler show --links weather/stations/1.0
    """
    if links:
        _show_links(client, resolve_latest(client, parse_as(address, "version")), as_json=as_json)
        return
    place = resolve_latest(client, parse_as(address, "project", "asset", "version"))
    if place.version:
        shown = _version(client, place)
    elif place.asset:
        shown = _asset(client, place)
    else:
        shown = _project(client, place)
    shown = common.named(place) | shown | _permissions(client, place)
    if as_json:
        terminal.print_json(shown)
    else:
        terminal.print_facts(_facts(shown))


def _show_links(client: Client, place: Address, *, as_json: bool) -> None:
    found = client.version(place.project, place.asset, place.version).relations()
    for problem in found.problems:
        click.echo(f"warning: {terminal.printable(problem)}", err=True)
    if as_json:
        terminal.print_json(common.named(place) | plain(found))
        return
    links = [
        [each.path, "copy" if each.copy else "link", each.source, terminal.size(each.usage)]
        for each in found.links
    ]
    shared = [
        [each.version, str(each.files), terminal.size(each.size), terminal.size(each.stored)]
        for each in found.shared
    ]
    if not terminal.is_terminal():
        # For scripts: the first field is the kind of the line.
        terminal.print_table(
            [], [["link", *row] for row in links] + [["shared", *r] for r in shared]
        )
        return
    if links:
        terminal.print_table(["link", "would become", "leads to", ">added"], links)
    else:
        click.echo("no other version has a link here")
    click.echo()
    if shared:
        terminal.print_table(["same content in", ">contents", ">size", ">stored there"], shared)
    else:
        click.echo("no other version has the same content")


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
    review = {"digest": common.shown_digest(client, version)} if summary.on_probation else {}
    stored, linked = count(version.manifest())
    return plain(summary) | {
        "on_probation": summary.on_probation,
        **review,
        "latest": version.asset.latest() == version,
        "stored": stored._asdict(),
        "linked": linked._asdict(),
    }


def _permissions(client: Client, place: Address) -> dict[str, Any]:
    shown = {"permissions": plain(client.project(place.project).permissions())}
    if place.asset:
        shown["asset_permissions"] = plain(client.asset(place.project, place.asset).permissions())
    return shown


def _facts(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in shown.items():
        if name == "permissions":
            yield from _rights(value, "")
        elif name == "asset_permissions":
            yield from _rights(value, " of the asset")
        else:
            yield LABELS.get(name, name), _text(name, value)


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a JSON document
    if name == "usage":
        return terminal.size(value)
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
