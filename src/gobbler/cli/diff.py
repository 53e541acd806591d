"""``gobbler diff``: compare two versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.client import Client, Difference, Version
from gobbler.model.records import Entry, plain

DIFFERENT = 1
"""The exit code for a difference, with ``--exit-code``."""


@click.command()
@common.address("before", metavar="PROJECT/ASSET/VERSION")
@common.address("after", metavar="PROJECT/ASSET/VERSION")
@click.option("--name-status", is_flag=True, help="Print only A, D or M and the path.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the versions differ, else with 0.")
@common.reads
@common.as_json
def command(
    client: Client, before: str, after: str, name_status: bool, exit_code: bool, as_json: bool
) -> None:
    """Show files that were added (A), deleted (D) or modified (M) between two versions.

    The command compares sizes and MD5s of the manifests, and reads no file. A linked file
    equals a stored one. For scripts, it prints a line for each file: letter, path, and size
    in bytes before and after, separated by tabs.

    \b
    Examples:
      gobbler diff weather/stations/1.1 weather/stations/1.2
      gobbler diff weather/stations/1.2 weather/stations/@latest --name-status
      gobbler diff --exit-code weather/stations/1.2 backup/stations/1.2 > /dev/null || echo other
    """
    old, new = client.version(before), client.version(after)
    found = old.diff(new)
    if as_json:
        terminal.print_json(_document(old, new, found))
    elif name_status:
        for letter, path, _, _ in _lines(found):
            click.echo(f"{letter}\t{terminal.printable(path)}")
    else:
        _print(found)
    if exit_code and found:
        raise click.exceptions.Exit(DIFFERENT)


def _lines(found: Difference) -> Iterator[tuple[str, str, Entry | None, Entry | None]]:
    """Letter, path and the entries before and after, by path."""
    lines: list[tuple[str, str, Entry | None, Entry | None]] = [
        *(("A", path, None, entry) for path, entry in found.added.items()),
        *(("D", path, entry, None) for path, entry in found.removed.items()),
        *(("M", path, *pair) for path, pair in found.changed.items()),
    ]
    for letter, path, before, after in sorted(lines, key=lambda line: line[1]):
        shown = after or before
        is_directory = shown is not None and shown.is_directory
        yield letter, path + "/" * is_directory, before, after


def _print(found: Difference) -> None:
    rows = [
        (letter, path, _size(before), _size(after)) for letter, path, before, after in _lines(found)
    ]
    if rows:
        terminal.print_table(["", "path", ">before", ">after"], rows)
    if terminal.is_terminal():
        click.echo(
            f"{len(found.added)} added, {len(found.removed)} deleted, "
            f"{len(found.changed)} modified, {len(found.same)} the same"
        )


def _size(entry: Entry | None) -> str:
    return "" if entry is None or entry.is_directory else terminal.size(entry.size)


def _document(old: Version, new: Version, found: Difference) -> dict[str, Any]:
    return {
        "before": str(old),
        "after": str(new),
        "added": [{"path": path, **plain(entry)} for path, entry in found.added.items()],
        "removed": [{"path": path, **plain(entry)} for path, entry in found.removed.items()],
        "changed": [
            {"path": path, "before": plain(pair.before), "after": plain(pair.after)}
            for path, pair in found.changed.items()
        ],
        "same": list(found.same),
    }
