"""``gobbler info``: show a service and its directories."""

from __future__ import annotations

import os

import click

from gobbler.cli import common, terminal
from gobbler.client import Client
from gobbler.client.service_url import shown_url


@click.command()
@common.requests
@common.as_json
def command(client: Client, as_json: bool) -> None:
    """Show a service, its directories, and what you can do from this machine.

    \b
    Example:
      gobbler info --url http://gobbler.example.org:8080
    """
    client.info()  # fails before any output if no service answers
    staging, registry = client.staging, client.registry
    url = shown_url(client.url or "")
    can_change = os.access(staging, os.W_OK | os.X_OK)
    can_read = os.path.isdir(registry)
    if as_json:
        terminal.print_json(
            {
                "url": url,
                "staging": staging,
                "registry": registry,
                "staging_writable": can_change,
                "registry_mounted": can_read,
            }
        )
        return
    change = "writable: changes work" if can_change else "not writable here: no changes"
    read = "mounted: direct reads" if can_read else "not mounted here: reads over HTTP"
    click.echo(f"service   {url}")
    click.echo(f"staging   {terminal.printable(staging)} ({change})")
    click.echo(f"registry  {terminal.printable(registry)} ({read})")
