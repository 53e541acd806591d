"""What commands share: the options that say which service, and how results are shown."""

from __future__ import annotations

import functools
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from gobbler.cli.completion import completed
from gobbler.cli.signals import stopping_cleanly
from gobbler.client import Client
from gobbler.client.address import Address
from gobbler.client.client import find_client
from gobbler.errors import Unreachable, quoted
from gobbler.model.records import Uploader

Command = Callable[..., Any]


def address(name: str, **options: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's
    """An argument that is an address, which the shell can complete."""
    return click.argument(name, shell_complete=_completed, **options)


def _completed(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    del parameter
    return completed(context.params, incomplete)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")

spoof = click.option("--spoof", metavar="USER", help="Act for USER, where the service allows it.")


def _uploader(text: str) -> Uploader:
    if not text.lstrip().startswith("{"):
        return Uploader(text)
    try:
        return msgspec.json.decode(text, type=Uploader)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{text}: {error}") from error


uploaders = click.option(
    "--uploader",
    "uploaders",
    multiple=True,
    type=_uploader,
    metavar="USER|JSON",
    help="Who else may upload: a user, or an entry like the one in the examples.",
)

jobs = click.option(
    "--jobs",
    "-j",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Files that are copied at a time.",
)

# Variables of the environment are not click's business: which of them count depends on the
# others, and on the configuration files. See gobbler.client.resolve.
service = click.option(
    "--service",
    metavar="NAME",
    help="Which service of those that are configured.  [GOBBLER_SERVICE]",
)
_url = click.option("--url", metavar="URL", help="Address of the service.  [GOBBLER_URL]")
_staging = click.option(
    "--staging",
    metavar="DIR",
    help="Its staging directory; the service knows.  [GOBBLER_STAGING]",
)
_registry = click.option(
    "--registry",
    metavar="DIR",
    help="Its registry; the service knows.  [GOBBLER_REGISTRY]",
)
_cache = click.option(
    "--cache",
    metavar="DIR",
    help="Where downloads are kept; by default with your other data.  [GOBBLER_CACHE]",
)
_remote = click.option(
    "--remote", is_flag=True, help="Read over HTTP even if the registry is mounted here."
)


STARTED_WITHIN = 5.0
"""Seconds that commands give a service that may have been started just before them."""


def _find_client(
    given: dict[str, str | None],
    *,
    service: str | None,
    cache: str | None = None,
    force_remote: bool = False,
) -> Client:
    """The client of the service that is meant; says so where that is the default."""
    client = find_client(given, service=service, cache=cache, force_remote=force_remote)
    if client.connection.uses_default_url:
        click.echo(f"no service is configured: using {client.url}", err=True)
        _await_service(str(client.url))
    return client


def _await_service(url: str) -> None:
    """Wait a moment while nothing listens at ``url``: ``gobbler serve &`` takes that long.

    Raises :class:`~gobbler.errors.Unreachable` if nothing does in time.
    """
    where = urlsplit(url)
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline:
        try:
            socket.create_connection((str(where.hostname), where.port or 80), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        except OSError:
            return  # the request itself reports it
        else:
            return
    raise Unreachable(
        f"no service is configured, and none runs at {url}",
        hint="Start one with: gobbler serve. Or name yours: "
        "gobbler config set service.NAME.url URL",
    )


def reads(function: Command) -> Command:
    """Give a command the options of whoever reads, and their client as ``client``."""

    @_url
    @service
    @_registry
    @_cache
    @_remote
    @functools.wraps(function)
    def command(
        url: str | None,
        service: str | None,
        registry: str | None,
        cache: str | None,
        remote: bool,
        **rest: object,
    ) -> Any:  # noqa: ANN401 - an exit code, or nothing
        given = {"url": url, "registry": registry}
        client = _find_client(given, service=service, cache=cache, force_remote=remote)
        with stopping_cleanly():
            return function(client=client, **rest)

    return command


def about_the_cache(function: Command) -> Command:
    """Give a command the option that says which cache, and a ``client`` that has no service."""

    @_cache
    @functools.wraps(function)
    def command(cache: str | None, **rest: object) -> Any:  # noqa: ANN401 - an exit code, or nothing
        with stopping_cleanly():
            return function(client=Client(cache=cache or None), **rest)

    return command


def changes(function: Command) -> Command:
    """Give a command the options of whoever changes something, and their ``client``."""

    @_url
    @service
    @_staging
    @_registry
    @functools.wraps(function)
    def command(
        url: str | None,
        service: str | None,
        staging: str | None,
        registry: str | None,
        **rest: object,
    ) -> Any:  # noqa: ANN401 - an exit code, or nothing
        given = {"url": url, "staging": staging, "registry": registry}
        client = _find_client(given, service=service)
        with stopping_cleanly():
            return function(client=client, **rest)

    return command


def print_json(document: object) -> None:
    """Print ``document`` as the one JSON document of a command."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_done(what: str, place: Address, *, as_json: bool) -> None:
    """Print what was done with a project, an asset or a version."""
    if as_json:
        print_json(named(place))
    else:
        click.echo(f"{what} {printable(str(place))}")


def named(place: Address) -> dict[str, object]:
    """The names in an address, as JSON documents have them."""
    parts = {"project": place.project, "asset": place.asset, "version": place.version}
    return {what: name for what, name in parts.items() if name}


def printable(name: str) -> str:
    """``name`` as it is if it is safe to print, else quoted, with what is odd escaped."""
    return name if name.isprintable() else quoted(name)


def for_people() -> bool:
    """Whether somebody looks at the output; else a script reads it."""
    return sys.stdout.isatty()


def size(count: int) -> str:
    """A number of bytes for people, e.g. ``3.4 MB``; bare where a script reads it."""
    return decimal(count) if for_people() else str(count)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, for_people: bool | None = None
) -> None:
    """Print rows: as a table for people, else as lines of fields between tabs.

    People are supposed where the output is a terminal, unless ``for_people`` knows. A
    column whose name starts with ``>`` is of numbers.
    """
    if not (sys.stdout.isatty() if for_people is None else for_people):
        for row in rows:
            click.echo("\t".join(printable(field) for field in row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
        )
    for row in rows:
        table.add_row(*(Text(printable(field)) for field in row))
    Console().print(table)


def print_facts(facts: Iterable[tuple[str, str]], *, err: bool = False) -> None:
    """Print what is known about one thing, a line each: what it is, and how it is."""
    listed = list(facts)
    width = max((len(what) for what, _ in listed), default=0)
    for what, how in listed:
        click.echo(f"{what:<{width}}  {printable(how)}", err=err)
