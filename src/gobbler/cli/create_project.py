"""``gobbler create-project``: a new project."""

from __future__ import annotations

import click
import msgspec

from gobbler.cli import common
from gobbler.client import Client
from gobbler.records import Uploader


@click.command()
@click.argument("project")
@click.option(
    "--owner", "owners", multiple=True, metavar="USER", help="Who owns it, by default you."
)
@click.option(
    "--uploader",
    "uploaders",
    multiple=True,
    metavar="USER|JSON",
    help="Who else may upload: a user, or an entry like the one in the examples.",
)
@common.changes
@common.as_json
def command(
    client: Client, project: str, owners: tuple[str, ...], uploaders: tuple[str, ...], as_json: bool
) -> None:
    """Make the project PROJECT. Only administrators of the service may.

    --owner and --uploader may be given several times. What an uploader publishes is on
    probation until an owner approves it, unless the entry says that they are trusted.

    \b
    Examples:
      gobbler create-project weather
      gobbler create-project weather --owner ada --owner grace --uploader alan
      gobbler create-project weather --uploader \\
        '{"id": "alan", "asset": "stations", "until": "2027-01-01T00:00:00Z", "trusted": true}'
    """
    client.create_project(
        project, owners=owners or None, uploaders=[_uploader(text) for text in uploaders] or None
    )
    if as_json:
        common.print_json({"project": project})
    else:
        click.echo(f"made project {common.printable(project)}")


def _uploader(text: str) -> Uploader:
    if not text.lstrip().startswith("{"):
        return Uploader(text)
    try:
        return msgspec.json.decode(text, type=Uploader)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{text}: {error}", param_hint="--uploader") from error
