"""``gobbler fetch``: get a version, a directory or a file."""

from __future__ import annotations

import click

from gobbler.cli import common, terminal
from gobbler.cli.progress_bar import Bar
from gobbler.client import Client
from gobbler.client.address import parse
from gobbler.client.client import resolve_latest
from gobbler.errors import Code, Refused, quoted


@click.command()
@common.address("address")
@click.option(
    "--to",
    "destination",
    metavar="PATH",
    help="Copy it to PATH: a new path or an empty directory; for a file, also any directory.",
)
@click.option("--overwrite", is_flag=True, help="Replace files in the cache.")
@common.jobs
@common.reads
@common.as_json
def command(
    client: Client,
    address: str,
    destination: str | None,
    overwrite: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Get the version, directory or file ADDRESS, and print its path.

    If the registry is mounted here, that is the path in the registry: don't change files
    there. Otherwise the command downloads into a cache, once, whole or not at all. Use --to
    for a copy of your own.

    \b
    Examples:
      gobbler fetch weather/stations/@latest
      gobbler fetch weather/stations/1.2/2026/berlin.csv
      cd "$(gobbler fetch weather/stations/1.2)"
      gobbler fetch weather/stations/1.2 --to ./stations
    """
    place = parse(address)
    if place.depth < 3:
        raise Refused(
            f"{quoted(address)} is not the address of a version or of a file in one",
            code=Code.INVALID_ADDRESS,
            hint=f"For the latest version: gobbler fetch {address.rstrip('/')}/@latest",
        )
    place = resolve_latest(client, place)
    version = client.version(place.project, place.asset, place.version)
    single = bool(place.path) and not version.is_directory(place.path)
    with Bar("fetching") as bar:
        if single:
            path = client.fetch_file(str(place), overwrite=overwrite, progress=bar)
        else:
            path = client.fetch_directory(
                str(place), overwrite=overwrite, concurrent=jobs, progress=bar
            )
    if destination is not None:
        from gobbler.client.export import export

        path = export(path, destination)
    if as_json:
        terminal.print_json({"address": str(place), "path": path, "directory": not single})
    else:
        terminal.print_path(path)
