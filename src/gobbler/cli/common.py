"""What commands share: options that select a service, output, and progress bars."""

from __future__ import annotations

import functools
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
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
    """An argument that is an address, with completion in the shell."""
    return click.argument(name, shell_complete=_completed, **options)


def _completed(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    del parameter
    return completed(context.params, incomplete)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; show what would change.")

spoof = click.option("--spoof", metavar="USER", help="Act for USER, if the service allows it.")


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


def changes(function: Command) -> Command:
    """Give a command that changes something its options, and a ``client``."""

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
    """Print ``document`` as the JSON document of a command."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_done(what: str, place: Address, *, as_json: bool) -> None:
    """Print what the command did with a project, an asset or a version."""
    if as_json:
        print_json(named(place))
    else:
        click.echo(f"{what} {printable(str(place))}")


def named(place: Address) -> dict[str, object]:
    """The names in an address, for JSON documents."""
    parts = {"project": place.project, "asset": place.asset, "version": place.version}
    return {what: name for what, name in parts.items() if name}


def printable(name: str) -> str:
    """``name``, quoted and escaped unless it is safe to print."""
    return name if name.isprintable() else quoted(name)


def on_terminal() -> bool:
    """Whether the output is a terminal; otherwise, a script reads it."""
    return sys.stdout.isatty()


def size(count: int) -> str:
    """A number of bytes: ``3.4 MB`` on a terminal, plain digits for scripts."""
    return decimal(count) if on_terminal() else str(count)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, on_terminal: bool | None = None
) -> None:
    """Print rows: as a table on a terminal, otherwise as lines of fields between tabs.

    ``on_terminal`` overrides the check for a terminal. A column whose name starts with ``>``
    holds numbers.
    """
    if not (sys.stdout.isatty() if on_terminal is None else on_terminal):
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
    """Print names and values, one pair per line."""
    listed = list(facts)
    width = max((len(what) for what, _ in listed), default=0)
    for what, how in listed:
        click.echo(f"{what:<{width}}  {printable(how)}", err=err)


class _Phase:
    """A later phase of work, shown by the same bar."""

    def __init__(self, progress: Progress, task: TaskID, title: str) -> None:
        self._progress = progress
        self._task = task
        self._title = title
        self._done = 0

    def expect(self, files: int, size: int | None) -> None:
        """Set the total, and start at zero."""
        self._done = 0
        self._progress.reset(self._task, description=self._title, total=size, done=0, files=files)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._done += files
        self._progress.update(self._task, advance=size, done=self._done)


class Bar:
    """A :class:`gobbler.model.progress.Progress` that draws a bar, and removes it at the end.

    ``title`` names the work, ``afterwards`` the work that follows the last file.
    """

    def __init__(self, title: str, afterwards: str = "") -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}/{task.fields[files]} files"),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._title = title
        self._afterwards = afterwards
        self._files: int | None = None
        self._done = 0
        first = afterwards or title
        self._task = self._progress.add_task(first, total=None, done=0, files="?")

    def expect(self, files: int, size: int | None) -> None:
        """Set the total."""
        self._files = files
        self._progress.update(self._task, description=self._title, files=files, total=size)

    def advance(self, files: int, size: int) -> None:
        """Add to what is done."""
        self._done += files
        if self._afterwards and self._done == self._files:
            self._progress.reset(
                self._task, description=self._afterwards, total=None, done=0, files="?"
            )
        else:
            self._progress.update(self._task, advance=size, done=self._done)

    def next(self, title: str) -> _Phase:
        """The progress of a later phase, under its own ``title``."""
        return _Phase(self._progress, self._task, title)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
