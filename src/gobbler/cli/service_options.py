"""What `gobbler serve` and `gobbler worker` can be told alike."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator

import click

from gobbler.fs.flush import Durability
from gobbler.fs.latency import has_high_latency
from gobbler.rules.dedup import Dedup
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import (
    DEFAULT_DIRECTORY,
    Settings,
    default_settings,
    read_spoofing,
    read_whitelist,
)

Command = Callable[..., None]

WAITING = 16
"""Batches at a time where each mostly waits: for a cluster, or for a filesystem."""

_ONE_DASH = re.compile(r"-[a-z][a-z-]+(=.*)?", re.DOTALL)


class OneDashToo(click.Command):
    """Takes ``-staging DIR`` and ``-staging=DIR``, as the Go service spells them, too."""

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
        help="Users who may do everything, such as creating projects.",
    ),
    click.option(
        "--whitelist",
        metavar="FILE",
        help="Directories outside of the registry that links may lead to, one a line.",
    ),
    click.option(
        "--spoof",
        metavar="FILE",
        help="Who may act for whom: 'user:other,other' a line; '*' is everyone, '-name' all but.",
    ),
    click.option(
        "--durability",
        type=click.Choice([choice.value for choice in Durability]),
        default=Durability.FULL.value,
        show_default=True,
        help="full: what is acknowledged survives a power cut. relaxed: for scratch registries.",
    ),
    click.option(
        "--grace",
        default=30.0,
        show_default=True,
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="How long running requests may go on once the service is told to stop.",
    ),
    click.option(
        "--concurrency",
        show_default=f"number of processors; {WAITING} with --dask or a slow filesystem",
        type=click.IntRange(min=1),
        help="Batches of files that an HTTP worker copies at a time; of the spool, each job.",
    ),
    click.option(
        "--index",
        metavar="FILE",
        help="An index of all manifests, made when it is missing, in a directory of the "
        "service's own on a local disk. Finding links is quick with it.",
    ),
    click.option(
        "--dedup",
        type=click.Choice([choice.value for choice in Dedup]),
        default=Dedup.LATEST.value,
        show_default=True,
        help="Where a new file is looked for, so that it is stored once: in the latest version "
        "of its asset, or in all of the asset, or of the project, which needs --index.",
    ),
    click.option(
        "--dask",
        default="",
        metavar="tcp://HOST:PORT",
        help="Scheduler of a Dask cluster that batches are sent to. It needs the extra: "
        "pip install 'gobbler-registry[dask]'.",
    ),
    click.option(
        "--log-format",
        "form",
        type=click.Choice([choice.value for choice in LogFormat]),
        default=LogFormat.TEXT.value,
        show_default=True,
        help="How log lines on standard error look.",
    ),
    click.option("--debug", is_flag=True, help="Log more."),
)


def _concurrency(registry: str, dask: str) -> int:
    return WAITING if dask or has_high_latency(registry) else max(2, os.cpu_count() or 1)


def _directories(*, default: bool) -> Iterator[Callable[[Command], Command]]:
    """The options that name the two directories; without ``default`` they are required."""
    helps = {
        "staging": "Where users put requests and sources. Every user can write there (mode 1777).",
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
        durability: str,
        grace: float,
        concurrency: int | None,
        index: str | None,
        dedup: str,
        dask: str,
        form: str,
        debug: bool,
        **rest: object,
    ) -> None:
        if Dedup(dedup) is not Dedup.LATEST and not index:
            raise click.UsageError(f"--dedup {dedup} finds files by the index: say --index FILE.")
        if staging is None and registry is None:
            defaults = default_settings()
            staging, registry = defaults.staging, defaults.registry
            admins = admins or ",".join(defaults.admins)
        if staging is None or registry is None:
            missing = "staging" if staging is None else "registry"
            raise click.UsageError(f"Missing option '--{missing}'.")
        settings = Settings(
            staging=os.path.abspath(staging),
            registry=os.path.abspath(registry),
            admins=frozenset(name for part in admins.split(",") if (name := part.strip())),
            whitelist=read_whitelist(whitelist) if whitelist else (),
            spoofing=read_spoofing(spoof) if spoof else (),
            durability=Durability(durability),
            grace=grace,
            concurrency=concurrency or _concurrency(registry, dask),
            index=os.path.abspath(index) if index else None,
            dedup=Dedup(dedup),
            dask=dask,
        )
        function(settings=settings, form=LogFormat(form), debug=debug, **rest)

    return command
