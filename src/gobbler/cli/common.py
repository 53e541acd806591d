"""What commands share: options that select a service, output, and progress bars."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from gobbler.cli import terminal
from gobbler.cli.completion import completed
from gobbler.cli.signals import stopping_cleanly
from gobbler.client import Client, Version
from gobbler.client.address import Address
from gobbler.client.client import find_client
from gobbler.errors import Refused, Unreachable
from gobbler.model.records import Uploader

Command = Callable[..., Any]


def address(name: str, **options: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's
    """An argument that is an address, with completion in the shell."""
    return click.argument(name, shell_complete=_completed, **options)


def _completed(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    del parameter
    return completed(context.params, incomplete)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

insist = click.option(
    "--force",
    is_flag=True,
    help="Accept that nobody owns the project, and names that no user can have.",
)

dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; show what would change.")

spoof = click.option("--spoof", metavar="USER", help="Act for USER, if the service allows it.")


def _uploader(text: str) -> Uploader:
    from gobbler.client.permissions import parse_uploader

    try:
        return parse_uploader(text)
    except Refused as error:
        raise click.BadParameter(error.message) from error


uploaders = click.option(
    "--uploader",
    "uploaders",
    multiple=True,
    type=_uploader,
    metavar="USER|JSON",
    help="Who else may upload: a user, or an entry as in the examples.",
)

jobs = click.option(
    "--jobs",
    "-j",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Copy N files at a time.",
    metavar="N",
)

# gobbler.client.resolve reads the environment, not click: which variables count depends on the
# other options and on the configuration files.
service = click.option(
    "--service",
    metavar="NAME",
    help="Name of a configured service.  [GOBBLER_SERVICE]",
)
_url = click.option("--url", metavar="URL", help="Address of the service.  [GOBBLER_URL]")
_staging = click.option(
    "--staging",
    metavar="DIR",
    help="Its staging directory, if mounted elsewhere here.  [GOBBLER_STAGING]",
)
_registry = click.option(
    "--registry",
    metavar="DIR",
    help="Its registry, if mounted elsewhere here.  [GOBBLER_REGISTRY]",
)
_cache = click.option(
    "--cache",
    metavar="DIR",
    help="Directory for downloads, by default among your data.  [GOBBLER_CACHE]",
)
_remote = click.option(
    "--remote", is_flag=True, help="Read over HTTP, even if the registry is mounted here."
)
_offline = click.option(
    "--offline",
    is_flag=True,
    help="Send no request: read only what was downloaded before.  [GOBBLER_OFFLINE]",
)


STARTED_WITHIN = 5.0
"""Seconds that commands wait for a service that may just be starting."""


def _find_client(
    given: dict[str, str | None],
    *,
    service: str | None,
    cache: str | None = None,
    force_remote: bool = False,
    offline: bool | None = None,
) -> Client:
    """The client of the service that the options select. Reports the default on stderr."""
    client = find_client(
        given, service=service, cache=cache, force_remote=force_remote, offline=offline
    )
    if not client.connection.is_offline and client.connection.uses_default_url:
        click.echo(f"no service is configured: using {client.url}", err=True)
        _await_service(str(client.url))
    return client


def _await_service(url: str) -> None:
    """Wait a moment while nothing listens at ``url``: ``gobbler serve &`` takes that long.

    Raises :class:`~gobbler.errors.Unreachable` if nothing does in time.
    """
    import socket

    where = urlsplit(url)
    deadline = time.monotonic() + STARTED_WITHIN
    waiting = False
    while time.monotonic() < deadline:
        try:
            socket.create_connection((str(where.hostname), where.port or 80), timeout=1).close()
        except ConnectionRefusedError:
            if not waiting:
                waiting = True
                seconds = f"{STARTED_WITHIN:g} seconds"
                click.echo(f"nothing answers there yet; waiting up to {seconds}", err=True)
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
    """Give a command that reads its options, and a ``client``."""

    @_url
    @service
    @_registry
    @_cache
    @_remote
    @_offline
    @functools.wraps(function)
    def command(
        url: str | None,
        service: str | None,
        registry: str | None,
        cache: str | None,
        remote: bool,
        offline: bool,
        **rest: object,
    ) -> Any:  # noqa: ANN401 - an exit code, or nothing
        given = {"url": url, "registry": registry}
        client = _find_client(
            given,
            service=service,
            cache=cache,
            force_remote=remote,
            offline=offline or None,
        )
        with stopping_cleanly():
            return function(client=client, **rest)

    return command


def uses_cache(function: Command) -> Command:
    """Give a command the option ``--cache``, and a ``client`` for it."""

    @_cache
    @functools.wraps(function)
    def command(cache: str | None, **rest: object) -> Any:  # noqa: ANN401 - an exit code, or nothing
        with stopping_cleanly():
            return function(client=Client(cache=cache or None), **rest)

    return command


def requests(function: Command) -> Command:
    """Give a command that sends requests its options, and a ``client``."""

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


def changes(function: Command) -> Command:
    """Like :func:`requests`, for a command that prints once it has changed something.

    If nobody reads that, it has still succeeded.
    """

    @functools.wraps(function)
    def command(**options: object) -> Any:  # noqa: ANN401 - an exit code, or nothing
        try:
            return function(**options)
        except terminal.OutputLost as lost:
            lost.is_done = True
            raise

    return requests(command)


def print_done(what: str, place: Address, *, as_json: bool) -> None:
    """Print what the command did with a project, an asset or a version."""
    if as_json:
        terminal.print_json(named(place))
    else:
        click.echo(f"{what} {terminal.printable(str(place))}")


def named(place: Address) -> dict[str, object]:
    """The names in an address, for JSON documents."""
    parts = {"project": place.project, "asset": place.asset, "version": place.version}
    return {what: name for what, name in parts.items() if name}


def shown_digest(client: Client, version: Version) -> str:
    """The digest of a version on probation, to be shown; an approval then asks for it."""
    from gobbler.client import shown_digests

    digest = version.review().digest
    shown_digests.remember(str(client.connection), version.key.path, digest)
    return digest
