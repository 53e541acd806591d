"""``gobbler serve``: run the service."""

from __future__ import annotations

import dataclasses

import click

from gobbler.cli.service_options import OneDashToo, service_options
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import Settings


@click.command(cls=OneDashToo)
@service_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    default=8080,
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

    It runs in the foreground, logs to standard error, and ends on SIGTERM or Ctrl-C:
    running requests may finish within the grace period, others are put back. Run it as
    an account of its own that owns the registry.

    \b
    Example:
      mkdir -m 1777 /data/staging; mkdir /data/registry
      gobbler serve --staging /data/staging --registry /data/registry --admin $USER

    Long options may be written with one dash, too.
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
    serve(full, form, debug=debug)
