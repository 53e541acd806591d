"""``gobbler serve``: run the service."""

from __future__ import annotations

import dataclasses
import ipaddress

import click

from gobbler.cli.common import print_facts
from gobbler.cli.service_options import OneDashToo, service_options
from gobbler.client.client import find_client
from gobbler.errors import GobblerError
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import Settings


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
    help="Put before every endpoint, e.g. 'gobbler' for /gobbler/info.",
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
    help="Jobs of the spool that are carried out at a time; 0: leave them to others.",
)
@click.option(
    "--probation",
    default=-1.0,
    show_default=True,
    metavar="DAYS",
    help="How long a version may stay on probation before it is removed; -1: for ever.",
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
    # Starting the HTTP server's native code takes a moment that --help need not wait for.
    from gobbler.service.supervisor import serve  # noqa: PLC0415

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
    _introduce(full)
    serve(full, form, debug=debug, on_start=lambda: _suggest(full))


def _introduce(settings: Settings) -> None:
    """Say what a service without options uses."""
    reach = "this machine only" if _is_loopback(settings.host) else "every machine that reaches it"
    facts = [
        ("staging", settings.staging),
        ("registry", settings.registry),
        ("address", f"{_url(settings)} ({reach})"),
        ("administrator", ", ".join(sorted(settings.admins))),
    ]
    print_facts(facts, err=True)


def _suggest(settings: Settings) -> None:
    """Say what a newcomer types next."""
    url = "" if _is_found(_url(settings)) else f" --url {_url(settings)}"
    click.echo(
        f"\nThe service runs. Try it from another terminal:\n"
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
        return find_client({}).url == url
    except GobblerError:
        return False
