"""``gobbler validate``: is a version what it was?"""

from __future__ import annotations

import click

from gobbler.cli import common
from gobbler.client import Client, RequestFailed
from gobbler.client.addresses import parse_as, resolve
from gobbler.errors import Refused, quoted


@click.command()
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@common.changes
@common.as_json
def command(client: Client, address: str, as_json: bool) -> None:
    """Compare a version with its records, every byte of it. Changes nothing.

    Prints every problem on a line of its own and ends with 3 if there is one. Only
    administrators of the service may.

    \b
    Examples:
      gobbler validate weather/stations/1.2
      gobbler validate weather/stations/@latest --json
    """
    place = resolve(client, parse_as(address, "version"))
    problems: list[str] = []
    try:
        client.validate_version(place.project, place.asset, place.version)
    except RequestFailed as error:
        problems = error.problems
        if not problems:
            raise
    if as_json:
        common.print_json(common.named(place) | {"valid": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            click.echo(common.printable(problem))
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        click.echo(f"error: {quoted(str(place))} has {number}", err=True)
    else:
        click.echo(f"valid {common.printable(str(place))}")
    if problems:
        click.get_current_context().exit(Refused.exit_code)
