"""``gobbler serve``: run a service."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import os
import re
from collections.abc import Callable, Iterator

import click

from gobbler.errors import GobblerError
from gobbler.fs.flush import Durability
from gobbler.fs.mounts import has_high_latency
from gobbler.rules.dedup import Dedup
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import (
    DEFAULT_DIRECTORY,
    Settings,
    default_processes,
    default_settings,
    read_spoofing,
    read_whitelist,
)

Command = Callable[..., None]

WAITING = 16
"""Batches at a time if they mostly wait for a cluster or a filesystem."""

_ONE_DASH = re.compile(r"-[a-z][a-z-]+(=.*)?", re.DOTALL)


class OneDashToo(click.Command):
    """Also takes ``-staging DIR`` and ``-staging=DIR``, as the Go service does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        known = {name for parameter in self.params for name in parameter.opts}
        return super().parse_args(ctx, [_with_two_dashes(word, known) for word in args])


def _with_two_dashes(word: str, known: set[str]) -> str:
    if _ONE_DASH.fullmatch(word) and "-" + word.partition("=")[0] in known:
        return "-" + word
    return word


_OPTIONS = (
    click.option(
        "--admin",
        "admins",
        default="",
        metavar="USER,...",
        help="Users with all rights, such as creating projects.",
    ),
    click.option(
        "--whitelist",
        metavar="FILE",
        help="File with directories outside the registry that links may lead to, one per line.",
    ),
    click.option(
        "--spoof",
        metavar="FILE",
        help="File with users who may act for others: one 'user:other,other' per line; '*' means "
        "everyone, '-name' excludes a user.",
    ),
    click.option(
        "--trust-groups",
        is_flag=True,
        help="Take request files and sources as their owner's work even if a group can write "
        "them. By default, that must be the owner's own private group.",
    ),
    click.option(
        "--durability",
        type=click.Choice([choice.value for choice in Durability]),
        default=Durability.FULL.value,
        show_default=True,
        help="full: acknowledged changes survive a power cut. relaxed: for scratch registries.",
    ),
    click.option(
        "--grace",
        default=30.0,
        show_default=True,
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Time that running requests get to finish when the service stops.",
    ),
    click.option(
        "--concurrency",
        show_default=f"number of processors; {WAITING} with --dask or a slow filesystem",
        type=click.IntRange(min=1),
        help="Batches of files that an HTTP worker, or a job of the spool, copies at a time.",
    ),
    click.option(
        "--processes",
        show_default="number of processors; 0 with one, with --dask or a slow filesystem",
        type=click.IntRange(0, 64),
        help="Local processes that an HTTP worker, or the worker of the spool, starts while it has "
        "many small files; 0 for threads only.",
    ),
    click.option(
        "--index",
        metavar="FILE",
        help="Index of all manifests, which makes the search for links fast. The service creates "
        "it; choose a directory of its own on a local disk.",
    ),
    click.option(
        "--dedup",
        type=click.Choice([choice.value for choice in Dedup]),
        default=Dedup.LATEST.value,
        show_default=True,
        help="Where to search for an identical file, so that it is stored once: in the latest "
        "version of the asset, or with --index in the whole asset or project.",
    ),
    click.option(
        "--dask",
        default="",
        metavar="tcp://HOST:PORT",
        help="Scheduler of a Dask cluster that runs the batches. It needs the extra: "
        "pip install 'gobbler-registry[dask]'.",
    ),
    click.option(
        "--log-format",
        "form",
        type=click.Choice([choice.value for choice in LogFormat]),
        default=LogFormat.TEXT.value,
        show_default=True,
        help="Format of log lines on standard error.",
    ),
    click.option("--debug", is_flag=True, help="Log more."),
)


def _directories(*, default: bool) -> Iterator[Callable[[Command], Command]]:
    """The options that name the two directories; without ``default`` they are required."""
    helps = {
        "staging": "Where users put requests and sources. Every user can add files (mode 1733).",
        "registry": "Where versions are published. Only the service can write there.",
    }
    for name, text in helps.items():
        yield click.option(
            f"--{name}",
            required=not default,
            metavar="DIR",
            help=text,
            show_default=f"./{DEFAULT_DIRECTORY}/{name} if neither is given" if default else None,
        )


def service_options(*, default_directories: bool) -> Callable[[Command], Command]:
    """Give a command the options that ``serve`` and ``worker`` share.

    The command gets ``settings`` (it adds its own), ``form`` (of log lines) and ``debug``. With
    ``default_directories``, a command line that names neither staging nor registry makes both
    below the current directory, with the caller as administrator.
    """

    def decorate(function: Command) -> Command:
        decorated = _with_settings(function)
        options: list[Callable[[Command], Command]] = [
            *_directories(default=default_directories),
            *_OPTIONS,
        ]
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _with_settings(function: Command) -> Command:
    @functools.wraps(function)
    def command(
        staging: str | None,
        registry: str | None,
        admins: str,
        whitelist: str | None,
        spoof: str | None,
        trust_groups: bool,
        durability: str,
        grace: float,
        concurrency: int | None,
        processes: int | None,
        index: str | None,
        dedup: str,
        dask: str,
        form: str,
        debug: bool,
        **rest: object,
    ) -> None:
        if Dedup(dedup) is not Dedup.LATEST and not index:
            raise click.UsageError(f"--dedup {dedup} needs --index FILE.")
        if staging is None and registry is None:
            defaults = default_settings()
            staging, registry = defaults.staging, defaults.registry
            admins = admins or ",".join(defaults.admins)
        if staging is None or registry is None:
            missing = "staging" if staging is None else "registry"
            raise click.UsageError(f"Missing option '--{missing}'.")
        # Where each call waits for a server, many threads get more done than a few processes.
        waits = bool(dask) or has_high_latency(registry)
        if processes is None:
            processes = 0 if waits else default_processes()
        settings = Settings(
            staging=os.path.abspath(staging),
            registry=os.path.abspath(registry),
            admins=frozenset(name for part in admins.split(",") if (name := part.strip())),
            whitelist=read_whitelist(whitelist) if whitelist else (),
            spoofing=read_spoofing(spoof) if spoof else (),
            trust_groups=trust_groups,
            durability=Durability(durability),
            grace=grace,
            concurrency=concurrency or (WAITING if waits else max(2, os.cpu_count() or 1)),
            processes=processes,
            index=os.path.abspath(index) if index else None,
            dedup=Dedup(dedup),
            dask=dask,
        )
        function(settings=settings, form=LogFormat(form), debug=debug, **rest)

    return command


@click.command(cls=OneDashToo)
@service_options(default_directories=True)
@click.option("--host", default=Settings.host, show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    default=Settings.port,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen at.",
)
@click.option(
    "--prefix",
    default="",
    metavar="PATH",
    help="Prefix of every endpoint, such as 'gobbler' for /gobbler/info.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that answer HTTP requests.",
)
@click.option(
    "--jobs",
    default=4,
    show_default=True,
    type=click.IntRange(0, 256),
    help="Jobs of the spool to run at a time; 0 leaves them to `gobbler worker`.",
)
@click.option(
    "--probation",
    default=-1.0,
    show_default=True,
    metavar="DAYS",
    help="Days after which a version on probation is removed; -1 for never.",
)
def command(
    settings: Settings,
    form: LogFormat,
    debug: bool,
    host: str,
    port: int,
    prefix: str,
    workers: int,
    jobs: int,
    probation: float,
) -> None:
    """Run the service for a staging directory and a registry.

    To try it, name neither directory: the service makes both in ./gobbler-data, and you are
    the administrator. For several users, run it as an account of its own that owns the
    registry.

    The service stays in the foreground and logs to standard error. Stop it with Ctrl-C or
    SIGTERM: running requests may finish within the grace period, others are put back.

    \b
    Examples:
      gobbler serve
      gobbler serve --staging /data/staging --registry /data/registry --admin $USER

    You can write long options with one dash, too.
    """
    # Here, because that is slow, and --help does not need it.
    from gobbler.service.launch import serve

    full = dataclasses.replace(
        settings,
        host=host,
        port=port,
        prefix="/" + prefix.strip("/") if prefix.strip("/") else "",
        workers=workers,
        jobs=jobs,
        probation_days=probation,
    )
    if click.get_current_context().params["staging"] is not None:
        serve(full, form, debug=debug)
        return

    def started() -> None:
        _introduce(full)
        _suggest(full)

    serve(full, form, debug=debug, on_start=started)


def _introduce(settings: Settings) -> None:
    """Say what a service without options uses."""
    reach = "this machine only" if _is_loopback(settings.host) else "every machine that reaches it"
    facts = [
        ("staging", settings.staging),
        ("registry", settings.registry),
        ("address", f"{_url(settings)} ({reach})"),
        ("administrator", ", ".join(sorted(settings.admins))),
    ]
    # With directories, a service starts without loading the client.
    from gobbler.cli.terminal import print_facts

    print_facts(facts, err=True)


def _suggest(settings: Settings) -> None:
    """Say what a newcomer types next."""
    url = "" if _is_found(_url(settings)) else f" --url {_url(settings)}"
    click.echo(
        f"\nTry the service from another terminal:\n"
        f"  gobbler create-project weather{url}\n"
        f"  gobbler upload ./results weather/stations/1.0{url}\n"
        f"  gobbler ls weather/stations{url}\n"
        f"Stop it with Ctrl-C. The same command starts it again on the same data.\n",
        err=True,
    )


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}{settings.prefix}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_found(url: str) -> bool:
    """Whether commands without options use the service at ``url``."""
    try:
        from gobbler.client.client import find_client

        return find_client({}).url == url
    except GobblerError:
        return False
