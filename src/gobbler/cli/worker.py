"""``gobbler worker``: carry out jobs on any host that mounts the directories."""

from __future__ import annotations

import dataclasses

import click

from gobbler.cli.service_options import OneDashToo, service_options
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import Settings


@click.command(cls=OneDashToo)
@service_options(default_directories=False)
@click.option(
    "--jobs",
    default=4,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Jobs that are carried out at a time.",
)
def command(settings: Settings, form: LogFormat, debug: bool, jobs: int) -> None:
    """Carry out the jobs that users put into the spool of a staging directory.

    'gobbler serve' does that, too. Start workers on other hosts, as the same account and
    with the same settings, to share the work; or one alone where there is no HTTP. When a
    worker dies, another goes on with its jobs from where they were.

    It ends on SIGTERM or Ctrl-C: jobs under way may finish within the grace period, others
    are left for the next worker.

    \b
    Example:
      gobbler worker --staging /data/staging --registry /data/registry --admin alice
    """
    # What the work needs takes a moment to load that --help need not wait for.
    from gobbler.service.worker_process import work  # noqa: PLC0415

    work(dataclasses.replace(settings, jobs=jobs), form, debug=debug)
