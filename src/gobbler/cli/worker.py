"""``gobbler worker``: run jobs of a service on another host."""

from __future__ import annotations

import dataclasses

import click

from gobbler.cli.serve import OneDashToo, service_options
from gobbler.service.log_format import LogFormat
from gobbler.service.settings import Settings


@click.command(cls=OneDashToo)
@service_options(default_directories=False)
@click.option(
    "--jobs",
    default=4,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Jobs to run at a time.",
)
def command(settings: Settings, form: LogFormat, debug: bool, jobs: int) -> None:
    """Run the jobs in the spool of a staging directory.

    Start workers on other hosts that mount the directories, with the account and settings of
    the service, to share its work. Or run a worker without a service where there is no HTTP.
    When a worker dies, another one resumes its jobs.

    Stop it with Ctrl-C or SIGTERM: running jobs may finish within the grace period, other
    workers resume the rest.

    \b
    Example:
      gobbler worker --staging /data/staging --registry /data/registry --admin alice
    """
    # Here, because loading it is slow, and --help does not need it.
    from gobbler.service.worker_process import work

    work(dataclasses.replace(settings, jobs=jobs), form, debug=debug)
