"""``gobbler tree``: show a project, an asset or a version as a tree."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import Amount, count, describe, reason_of
from gobbler.client import Asset, Client, Version
from gobbler.client.address import Address, parse
from gobbler.client.client import resolve_latest
from gobbler.errors import Code, GobblerError, Refused
from gobbler.model.records import Entry, plain


@click.command()
@common.address("address", metavar="PROJECT[/ASSET[/VERSION[/PATH]]]")
@click.option(
    "--level",
    "-L",
    metavar="N",
    type=click.IntRange(min=1),
    help="Show N levels.",
)
@common.reads
@common.as_json
def command(client: Client, address: str, level: int | None, as_json: bool) -> None:
    """Show a project, an asset, a version or a directory as a tree.

    A project shows its assets and their versions, a version its directories and files, with
    the number of files and bytes. A link shows its target. Sizes are in bytes unless the
    output is a terminal.

    \b
    Examples:
      gobbler tree weather
      gobbler tree weather/stations/@latest
      gobbler tree weather/stations/@latest/2026 --level 1
      gobbler tree weather/stations/1.2 --json
    """
    place = resolve_latest(client, parse(address))
    if place.depth == 0:
        raise Refused(
            "a tree needs a project, an asset or a version",
            code=Code.INVALID_ADDRESS,
            hint="List all projects: gobbler ls",
        )
    if place.version:
        _show_version(client, place, level, as_json)
    else:
        _show_assets(client, place, level, as_json)


# Projects and assets.


def _show_assets(client: Client, place: Address, level: int | None, as_json: bool) -> None:
    project = client.project(place.project)
    found = [project.asset(place.asset)] if place.asset else project.assets()
    skip_versions = level == 1 and not place.asset
    is_named = bool(place.asset)
    assets = [
        {"asset": asset.name} | ({} if skip_versions else _asset(asset, is_named=is_named))
        for asset in found
    ]
    if as_json:
        if place.asset:
            terminal.print_json({"project": place.project, **assets[0]})
        else:
            terminal.print_json({"project": place.project, "assets": assets})
        return
    shown = [
        Node(asset["asset"], asset.get("problem", ""), _version_nodes(asset)) for asset in assets
    ]
    if place.asset:
        draw(Node(str(place), "", shown[0].children))
    else:
        draw(Node(str(place), "", shown))


def _asset(asset: Asset, *, is_named: bool) -> dict[str, Any]:
    """What is known of an asset; if the user has named it, it must be there."""
    described: dict[str, Any] = {}
    latest: Version | None = None
    try:
        latest = asset.latest()
        versions = asset.versions()
    except (GobblerError, OSError) as error:
        described["problem"] = reason_of(error)
        versions = asset.versions() if is_named else _versions_or_none(asset)
    return described | {
        "latest": None if latest is None else latest.name,
        "versions": [
            {"version": version.name, "latest": version == latest} | _version(version)
            for version in versions
        ],
    }


def _versions_or_none(asset: Asset) -> list[Version]:
    try:
        return asset.versions()
    except (GobblerError, OSError):
        return []


def _version(version: Version) -> dict[str, Any]:
    described = describe(version)
    if "problem" in described:
        return described
    try:
        stored, linked = count(version.manifest())
    except (GobblerError, OSError) as error:
        # One damaged version must not hide the others.
        return {"problem": reason_of(error)}
    return described | {"stored": stored._asdict(), "linked": linked._asdict()}


def _version_nodes(asset: dict[str, Any]) -> list[Node]:
    return [
        Node(version["version"], _version_note(version)) for version in asset.get("versions", ())
    ]


def _version_note(version: dict[str, Any]) -> str:
    if "problem" in version:
        return str(version["problem"])
    stored, linked = version["stored"], version["linked"]
    files, size = (stored[what] + linked[what] for what in ("files", "bytes"))
    notes = [_amount(files, size)]
    if linked["files"]:
        notes.append(f"{linked['files']} of them linked")
    notes += ["latest"] if version["latest"] else []
    notes += ["on probation"] if version["on_probation"] else []
    return ", ".join(notes)


# Versions and directories.


class _Line(NamedTuple):
    """A file or directory (without an entry) of a version, and its level."""

    path: str
    entry: Entry | None
    level: int


def _show_version(client: Client, place: Address, level: int | None, as_json: bool) -> None:
    version = client.version(place.project, place.asset, place.version)
    amounts = _amounts(version.files(place.path))
    lines = list(_lines(version, place.path, level))
    if as_json:
        terminal.print_json(
            common.named(place)
            | ({"path": place.path} if place.path else {})
            | {
                "directories": [
                    {"path": line.path, **amounts[line.path]._asdict()}
                    for line in lines
                    if line.entry is None
                ],
                "files": [
                    {"path": line.path, **plain(line.entry)}
                    for line in lines
                    if line.entry is not None
                ],
            }
        )
        return
    top = Node(str(place), _amount(*amounts[place.path]), [])
    above = [top]
    for line in lines:
        name = line.path.rpartition("/")[2]
        if line.entry is None:
            node = Node(f"{name}/", _amount(*amounts[line.path]), [])
        else:
            node = Node(name, _file_note(line.entry))
        del above[line.level + 1 :]
        above[-1].children.append(node)
        above.append(node)
    draw(top)


def _lines(version: Version, path: str, level: int | None) -> Iterator[_Line]:
    """Everything below the directory ``path``, each directory before its content."""
    pending = [_Line(path, None, -1)]
    while pending:
        line = pending.pop()
        if line.level >= 0:
            yield line
        if line.entry is not None or line.level + 1 == level:
            continue
        inside = version.directory(line.path)
        prefix = f"{line.path}/" if line.path else ""
        pending += [
            _Line(prefix + name, entry, line.level + 1) for name, entry in reversed(inside.items())
        ]


class _Amounts(dict[str, Amount]):
    def __missing__(self, path: str) -> Amount:
        return Amount(0, 0)


def _amounts(files: dict[str, Entry]) -> _Amounts:
    """The amount in each directory, including subdirectories."""
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path, entry in files.items():
        directory = path
        while directory:
            directory = directory.rpartition("/")[0]
            numbers[directory] += 1
            sizes[directory] += entry.size
    return _Amounts({path: Amount(number, sizes[path]) for path, number in numbers.items()})


def _amount(files: int, size: int) -> str:
    return f"{files} file{'' if files == 1 else 's'}, {_bytes(size)}"


def _bytes(size: int) -> str:
    return terminal.size(size) if terminal.is_terminal() else f"{size} bytes"


def _file_note(entry: Entry) -> str:
    note = _bytes(entry.size)
    if entry.link is not None:
        note += f" -> {entry.link.key.file(entry.link.path)}"
    return note


GUIDES = ("├── ", "└── ", "│   ", "    ")
ASCII_GUIDES = ("|-- ", "`-- ", "|   ", "    ")


@dataclass
class Node:
    """A node: its name, a note beside it, and its children."""

    name: str
    note: str = ""
    children: list[Node] = field(default_factory=list)


def draw(top: Node) -> None:
    """Print the tree below ``top``, however deep."""
    branch, last_branch, trunk, nothing = _guides()
    pending = [(top, "", "")]
    while pending:
        node, guide, indent = pending.pop()
        note = f"  {terminal.printable(node.note)}" if node.note else ""
        terminal.print_with_note(f"{guide}{terminal.printable(node.name)}", note)
        for child in reversed(node.children):
            is_last = child is node.children[-1]
            pending.append(
                (
                    child,
                    indent + (last_branch if is_last else branch),
                    indent + (nothing if is_last else trunk),
                )
            )


def _guides() -> tuple[str, str, str, str]:
    try:
        "".join(GUIDES).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ASCII_GUIDES
    return GUIDES
