"""``gobbler cat``: print a file."""

from __future__ import annotations

import os
from typing import BinaryIO

import click

from gobbler.cli import common, terminal
from gobbler.client import Client, Version
from gobbler.client.address import parse
from gobbler.client.client import resolve_latest
from gobbler.client.expected import mismatch, size_problem
from gobbler.errors import Code, Refused, quoted
from gobbler.model.names import has_internal


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION/PATH")
@common.reads
def command(client: Client, address: str) -> None:
    """Print a file of a version, unchanged.

    On a terminal, control characters are shown escaped: it would obey them.
    Where the registry is not mounted, the command first fetches the whole file into the cache.

    \b
    Examples:
      gobbler cat weather/stations/@latest/README
      gobbler cat weather/stations/1.2/2026/berlin.csv | head
      gobbler cat weather/stations/1.2/..manifest
    """
    place = resolve_latest(client, parse(address))
    version = client.version(place.project, place.asset, place.version) if place.path else None
    if version is None or version.is_directory(place.path):
        raise Refused(
            f"{quoted(address)} is not the address of a file",
            code=Code.INVALID_ADDRESS,
            hint=f"List files: gobbler ls {place}".rstrip(),
        )
    with open(client.fetch_file(str(place)), "rb") as file:
        if client.connection.local is not None and not has_internal(place.path):
            _check_size(version, place.path, file)
        terminal.print_content(file)


def _check_size(version: Version, path: str, file: BinaryIO) -> None:
    """Raise :class:`~gobbler.client.expected.ContentMismatch` if ``file`` is damaged, by its size.

    In the registry itself, nobody has compared it with the manifest before.
    """
    entry = version.manifest().get(path)
    size = os.fstat(file.fileno()).st_size
    if entry is not None and entry.size != size:
        raise mismatch(version.key.file(path), size_problem(size, entry))
