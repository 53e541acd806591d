"""``gobbler validate``: is a version what it was? And all of them?"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import click

from gobbler.cli import amounts, common, scrubbing, sweeping
from gobbler.client import Budget, Client, RequestFailed
from gobbler.client.calls.addresses import parse, parse_as, resolve
from gobbler.errors import Refused, quoted


@click.command()
@common.address("address", metavar="[PROJECT[/ASSET[/VERSION]]]", default="")
@sweeping.everything
@click.option(
    "--since",
    type=amounts.moment,
    metavar="AGE|DATE",
    help="With --all: only what was not verified since then: 12h, 30d, 2w; 2026-11-20.",
)
@click.option(
    "--budget",
    type=amounts.budget,
    multiple=True,
    metavar="TIME|SIZE",
    help="With --all: begin nothing more after so long, or so much: 90m, 2h; 500GB. "
    "May be given twice.",
)
@sweeping.parallel
@sweeping.restart
@click.option(
    "--status", is_flag=True, help="With --all: only show when each was verified the last time."
)
@common.changes
@common.as_json
def command(
    client: Client,
    address: str,
    everything: bool,
    since: dt.datetime | None,
    budget: tuple[Budget, ...],
    parallel: int,
    restart: bool,
    status: bool,
    as_json: bool,
) -> int:
    """Compare a version with its records, every byte of it. Changes nothing.

    Prints every problem on a line of its own and ends with 3 if there is one. Only
    administrators of the service may.

    With --all it goes over all versions of the registry, or of PROJECT or PROJECT/ASSET: those
    first that never were verified, then the one verified the longest ago. What is verified is
    kept in your state directory (XDG_STATE_HOME): the same command goes on where it was
    stopped, by Ctrl-C, the end of the --budget or a power cut. Several may run at a time, and
    share the work. It prints what is wrong, a line a version, with the command to try next;
    also what is known from before, until it is verified again and found well.

    \b
    Examples:
      gobbler validate weather/stations/1.2
      gobbler validate weather/stations/@latest --json
      gobbler validate --all
      gobbler validate --all weather --since 30d --budget 2h --budget 500GB
      gobbler validate --all --status
    """
    options: dict[str, Any] = {"since": since, "budget": budget, "parallel": parallel}
    options |= {"restart": restart, "status": status}
    if not everything:
        sweeping.only_with_all(options)
        return _validate(client, address, as_json=as_json)
    project, asset = sweeping.scope(address)
    if status:
        scrubbing.status(client, project, asset, as_json=as_json)
        return 0
    if restart and since is not None:
        raise click.UsageError("--restart makes no sense with --since.")
    options |= {"budget": amounts.budgets(budget)}
    del options["status"]
    return scrubbing.scrub(client, project, asset, as_json=as_json, **options)


def _validate(client: Client, address: str, *, as_json: bool) -> int:
    if not address:
        raise click.UsageError("Say which version, or --all.")
    if parse(address).depth in (1, 2):
        raise Refused(
            f"{quoted(address)} is not the address of a version",
            hint=f"For all that are in it: gobbler validate --all {address}",
        )
    place = resolve(client, parse_as(address, "version"))
    problems: list[str] = []
    started = time.monotonic()
    try:
        client.validate_version(place.project, place.asset, place.version)
    except RequestFailed as error:
        problems = error.problems
        if not problems:
            raise
    scrubbing.keep(client, place, time.monotonic() - started, problems)
    if as_json:
        common.print_json(common.named(place) | {"valid": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            click.echo(common.printable(problem))
        number = sweeping.number(len(problems), "problem")
        click.echo(f"error: {quoted(str(place))} has {number}", err=True)
    else:
        click.echo(f"valid {common.printable(str(place))}")
    return Refused.exit_code if problems else 0
