"""``gobbler ls``: list projects, assets, versions or files."""

from __future__ import annotations

from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import describe
from gobbler.client import Client
from gobbler.client.address import Address, not_there, parse
from gobbler.client.client import resolve_latest
from gobbler.client.handle import names_of
from gobbler.model.records import Entry, Manifest, plain


@click.command()
@common.address("address", default="")
@common.reads
@common.as_json
def command(client: Client, address: str, as_json: bool) -> None:
    """List all projects, or the content of the project, asset or version ADDRESS.

    The list marks the latest version and versions on probation. It shows the size of each
    file, and the target of each link. For scripts, it prints lines of fields separated by
    tabs, with sizes in bytes.

    \b
    Examples:
      gobbler ls                              all projects
      gobbler ls weather                      the assets of a project
      gobbler ls weather/stations             the versions of an asset
      gobbler ls weather/stations/@latest     the files of its latest version
      gobbler ls weather/stations/1.2/2026    the files of a directory
    """
    place = resolve_latest(client, parse(address))
    if place.depth == 0:
        _names("project", {}, names_of(client.projects()), as_json)
    elif place.depth == 1:
        assets = names_of(client.project(place.project))
        _names("asset", {"project": place.project}, assets, as_json)
    elif place.depth == 2:
        _versions(client, place, as_json)
    else:
        _files(client, place, as_json)


def _names(what: str, of: dict[str, str], names: list[str], as_json: bool) -> None:
    if as_json:
        terminal.print_json({**of, f"{what}s": names})
    else:
        terminal.print_table([what], [[name] for name in names])


def _versions(client: Client, place: Address, as_json: bool) -> None:
    asset = client.asset(place.project, place.asset)
    versions, latest = asset.versions(), asset.latest()
    described: list[dict[str, Any]] = [
        {"version": version.name, "latest": version == latest} | describe(version)
        for version in versions
    ]
    if as_json:
        terminal.print_json(
            {
                "project": place.project,
                "asset": place.asset,
                "latest": None if latest is None else latest.name,
                "versions": described,
            }
        )
        return
    rows = [
        [
            each["version"],
            each.get("upload_finish", ""),
            each.get("upload_user_id", ""),
            _note(each),
        ]
        for each in described
    ]
    terminal.print_table(["version", "published", "by", ""], rows)


def _note(described: dict[str, Any]) -> str:
    if "problem" in described:
        return str(described["problem"])
    notes = {"latest": described["latest"], "on probation": described["on_probation"]}
    return ", ".join(note for note, holds in notes.items() if holds)


def _files(client: Client, place: Address, as_json: bool) -> None:
    manifest = client.version(place.project, place.asset, place.version).manifest()
    entries = _below(manifest, place.path)
    if place.path and not entries:
        raise not_there(place)
    if as_json:
        terminal.print_json(
            {
                "project": place.project,
                "asset": place.asset,
                "version": place.version,
                "files": [{"path": path, **plain(entry)} for path, entry in entries],
            }
        )
        return
    terminal.print_table(
        [">size", "path", "linked to"],
        [
            [
                terminal.size(entry.size),
                path + "/" * entry.is_directory,
                _target(entry),
            ]
            for path, entry in entries
        ],
    )


def _below(manifest: Manifest, path: str) -> list[tuple[str, Entry]]:
    """The entries at and below ``path`` in order, or all if it is empty."""
    return sorted(
        (name, entry)
        for name, entry in manifest.items()
        if not path or name == path or name.startswith(path + "/")
    )


def _target(entry: Entry) -> str:
    return "" if entry.link is None else entry.link.key.file(entry.link.path)
