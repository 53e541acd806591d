"""``gobbler serve``: run the service."""

from __future__ import annotations

import os
import re

import click

from gobbler.disk.flushing import Durability
from gobbler.service.logs import LogFormat
from gobbler.service.settings import Settings, read_spoofing, read_whitelist

_ONE_DASH = re.compile(r"-[a-z][a-z-]+(=.*)?", re.DOTALL)


class _OneDashToo(click.Command):
    """Takes ``-staging DIR`` and ``-staging=DIR``, as the Go service spells them, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {name for parameter in self.params for name in parameter.opts}
        return super().parse_args(ctx, [_with_two_dashes(word, known) for word in args])


def _with_two_dashes(word: str, known: set[str]) -> str:
    if _ONE_DASH.fullmatch(word) and "-" + word.partition("=")[0] in known:
        return "-" + word
    return word


@click.command(cls=_OneDashToo)
@click.option(
    "--staging",
    required=True,
    metavar="DIR",
    help="Where users put requests and sources. Everybody can write there (mode 1777).",
)
@click.option(
    "--registry",
    required=True,
    metavar="DIR",
    help="Where versions are published. Only the service can write there.",
)
@click.option(
    "--admin",
    "admins",
    default="",
    metavar="USER,...",
    help="Users who may do everything, such as creating projects.",
)
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
    "--concurrency",
    default=lambda: max(2, os.cpu_count() or 1),
    show_default="number of processors",
    type=click.IntRange(min=1),
    help="Batches of files that a worker process copies at a time.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that answer HTTP requests.",
)
@click.option(
    "--whitelist",
    metavar="FILE",
    help="Directories outside of the registry that links may lead to, one a line.",
)
@click.option(
    "--spoof",
    metavar="FILE",
    help="Who may act for whom: 'user:other,other' a line; '*' is everyone, '-name' all but.",
)
@click.option(
    "--probation",
    default=-1.0,
    show_default=True,
    metavar="DAYS",
    help="How long a version may stay on probation before it is removed; -1: for ever.",
)
@click.option(
    "--durability",
    type=click.Choice([choice.value for choice in Durability]),
    default=Durability.FULL.value,
    show_default=True,
    help="full: what is acknowledged survives a power cut. relaxed: for scratch registries.",
)
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long running requests may go on once the service is told to stop.",
)
@click.option(
    "--log-format",
    "form",
    type=click.Choice([choice.value for choice in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="How log lines on standard error look.",
)
@click.option("--debug", is_flag=True, help="Log more.")
def command(
    staging: str,
    registry: str,
    admins: str,
    host: str,
    port: int,
    prefix: str,
    concurrency: int,
    workers: int,
    whitelist: str | None,
    spoof: str | None,
    probation: float,
    durability: str,
    grace: float,
    form: str,
    debug: bool,
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
    from gobbler.service.server import serve  # noqa: PLC0415

    settings = Settings(
        staging=os.path.abspath(staging),
        registry=os.path.abspath(registry),
        admins=frozenset(name for part in admins.split(",") if (name := part.strip())),
        host=host,
        port=port,
        prefix="/" + prefix.strip("/") if prefix.strip("/") else "",
        concurrency=concurrency,
        workers=workers,
        whitelist=read_whitelist(whitelist) if whitelist else (),
        spoofing=read_spoofing(spoof) if spoof else (),
        durability=Durability(durability),
        grace=grace,
        probation_days=probation,
    )
    serve(settings, LogFormat(form), debug=debug)
