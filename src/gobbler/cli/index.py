"""``gobbler index``: show or rebuild the index of a service, on its host."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click
from rich.progress import MofNCompleteColumn, Progress

from gobbler.cli import common, terminal
from gobbler.errors import Code, Fault, Refused, os_error_code
from gobbler.index import Index
from gobbler.index.database import UnusableIndex
from gobbler.registry.registry import Registry


def _index(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that select an index, and the ``index``."""

    @click.option("--registry", required=True, metavar="DIR", help="The registry.")
    @click.option("--index", "path", required=True, metavar="FILE", help="The file of the index.")
    @functools.wraps(function)
    def command(registry: str, path: str, **rest: Any) -> None:  # noqa: ANN401 - click's
        root = os.path.abspath(registry)
        if not os.path.isdir(root):
            raise Refused(
                f"the registry {root} is not a directory on this machine", code=Code.NOT_A_DIRECTORY
            )
        _check_account(os.path.dirname(os.path.abspath(path)))
        index = Index(os.path.abspath(path), Registry(root))
        try:
            function(index=index, **rest)
        except UnusableIndex as error:
            raise Fault(
                f"the index {index.path} can't be used: {error}", code=Code.UNUSABLE_INDEX
            ) from error

    return command


def _check_account(directory: str) -> None:
    """Refuse to create files that the service can't open."""
    try:
        owner = os.stat(directory).st_uid
    except OSError as error:
        raise Refused(
            f"the directory {directory} can't be used: {error.strerror}", code=os_error_code(error)
        ) from None
    if owner != os.geteuid():
        raise Refused(
            f"the directory {directory} belongs to another account",
            code=Code.NOT_ALLOWED,
            hint=f"Run this as that account, the service's: sudo -u '#{owner}' gobbler index ...",
        )


@click.group()
def command() -> None:
    """Show or rebuild the index of a service, on its host and as its account.

    `gobbler serve --index FILE` creates the index, a cache of all manifests, and keeps it up
    to date. You can remove it at any time.

    \b
    Examples:
      gobbler index status --registry /data/registry --index /var/lib/gobbler/index.db
      gobbler index rebuild --registry /data/registry --index /var/lib/gobbler/index.db
    """


@command.command()
@_index
def rebuild(index: Index) -> None:
    """Rebuild the index from the registry.

    The service can run meanwhile: it works without the index until this ends.

    \b
    Example:
      sudo -u gobbler gobbler index rebuild --registry /data/registry \\
          --index /var/lib/gobbler/index.db
    """
    console = terminal.console(err=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("reading manifests", total=None)
        index.rebuild(lambda done, of: progress.update(task, completed=done, total=of))
    status = index.status()
    click.echo(f"indexed {status['versions']} versions")


@command.command()
@_index
@common.as_json
def status(index: Index, as_json: bool) -> None:
    """Show the size of the index, and how many versions it is behind the registry.

    The service updates the index before each use, so being behind does no harm.

    \b
    Example:
      gobbler index status --registry /data/registry --index /var/lib/gobbler/index.db
    """
    found = {"index": index.path, **index.status(), "size": os.path.getsize(index.path)}
    if as_json:
        terminal.print_json(found)
        return
    labels = {"links": "links between versions", "behind": "versions behind"}
    terminal.print_facts((labels.get(what, what), str(value)) for what, value in found.items())
