"""``gobbler usage``: show how much space projects take."""

from __future__ import annotations

from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import reason_of
from gobbler.client import Client, Project
from gobbler.client.address import parse, parse_as
from gobbler.errors import GobblerError


@click.command()
@click.argument("project", metavar="[PROJECT]", default="")
@common.reads
@common.as_json
def command(client: Client, project: str, as_json: bool) -> None:
    """Show how much space PROJECT takes, or each project. Links take no space.

    Sizes are in bytes unless the output is a terminal.

    \b
    Examples:
      gobbler usage
      gobbler usage weather
      gobbler usage | sort -n
    """
    if parse(project).depth > 0:
        place = parse_as(project, "project")
        usage = client.project(place.project).usage()
        if as_json:
            terminal.print_json(common.named(place) | {"usage": usage})
        else:
            click.echo(terminal.size(usage))
        return
    described = [_describe(project) for project in client.projects()]
    if as_json:
        terminal.print_json({"projects": described})
        return
    rows = [
        [
            terminal.size(each["usage"]) if "usage" in each else "",
            each["project"],
            each.get("problem", ""),
        ]
        for each in described
    ]
    terminal.print_table([">usage", "project", ""], rows)


def _describe(project: Project) -> dict[str, Any]:
    try:
        return {"project": project.name, "usage": project.usage()}
    except (GobblerError, OSError) as error:
        # One damaged record must not hide the others.
        return {"project": project.name, "problem": reason_of(error)}
