"""``gobbler create-project``: create a project."""

from __future__ import annotations

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.model.records import Uploader


@click.command()
@click.argument("project")
@click.option("--owner", "owners", multiple=True, metavar="USER", help="An owner, by default you.")
@common.uploaders
@common.insist
@common.changes
@common.as_json
def command(
    client: Client,
    project: str,
    owners: tuple[str, ...],
    uploaders: tuple[Uploader, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Create the project PROJECT. Only administrators of the service can do this.

    You can repeat --owner and --uploader. Versions of an uploader are on probation until
    an owner approves it, unless the entry says "trusted".

    \b
    Examples:
      gobbler create-project weather
      gobbler create-project weather --owner ada --owner grace --uploader alan
      gobbler create-project weather --uploader \\
        '{"id": "alan", "asset": "stations", "until": "2027-01-01T00:00:00Z", "trusted": true}'
    """
    client.admin.create_project(
        project, owners=owners or None, uploaders=uploaders or None, force=force
    )
    if as_json:
        terminal.print_json({"project": project})
    else:
        click.echo(f"created project {terminal.printable(project)}")
