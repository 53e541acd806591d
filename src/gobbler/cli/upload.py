"""``gobbler upload``: publish a directory."""

from __future__ import annotations

import time
from typing import Any

import click

from gobbler.cli import common
from gobbler.cli.amounts import count
from gobbler.cli.progress import Bar
from gobbler.client import Client
from gobbler.client.address import LATEST, Address, parse_as
from gobbler.client.upload import UploadPlan
from gobbler.errors import Code, Refused


@click.command()
@click.argument("directory", type=click.Path())
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.option("--probation", is_flag=True, help="Publish it, but not as final: it needs approval.")
@click.option(
    "--consume/--no-consume",
    default=None,
    help="Whether files may be moved out of DIRECTORY. By default no.",
)
@click.option(
    "--ignore-dot/--keep-dot",
    default=True,
    show_default=True,
    help="Whether to leave out names that start with a dot.",
)
@click.option("--no-wait", is_flag=True, help="Print the name of the job, and don't wait for it.")
@common.dry_run
@common.spoof
@common.jobs
@common.changes
@common.as_json
def command(
    client: Client,
    directory: str,
    address: str,
    probation: bool,
    consume: bool | None,
    ignore_dot: bool,
    no_wait: bool,
    dry_run: bool,
    spoof: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Publish DIRECTORY as a new version of an asset, whole or not at all.

    Symbolic links to files of the registry, or to other files of DIRECTORY, become links.
    So do files that the asset's latest version has, too: what is already there takes no
    space. A version never changes once it is published.

    \b
    Examples:
      gobbler upload ./results weather/stations/1.3
      gobbler upload ./results weather/stations/2.0-beta --probation

    A DIRECTORY that stands in staging is used as it is; any other is copied there first,
    and the copy is removed afterwards, also after Ctrl-C.

    With --dry-run nothing is copied or asked: the command tells what would be stored, what
    linked to which file, and fails as the upload would where something would be refused.

    With --no-wait the command ends as soon as the service has the request, and prints the
    name of its job: see 'gobbler jobs'. Where the service has no address (see 'gobbler
    config show') requests go through the filesystem, to whoever works on --staging.
    """
    place = parse_as(address, "version")
    if place.version == LATEST:
        raise Refused(
            f"{LATEST} stands for a version that is there already",
            code=Code.INVALID_ADDRESS,
            hint="Give the new version a name of its own.",
        )
    if dry_run:
        plan = client.plan_upload(str(place), directory, ignore_dot=ignore_dot)
        _print_plan(plan, as_json)
        return
    upload = _submit if no_wait else _upload
    upload(
        client,
        place,
        as_json,
        directory=directory,
        probation=probation,
        consume=consume,
        ignore_dot=ignore_dot,
        spoof=spoof,
        concurrent=jobs,
    )


def _submit(client: Client, place: Address, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - passed on
    with Bar("copying to staging") as bar:
        job = client.submit(str(place), progress=bar, **options)
    if as_json:
        common.print_json(common.named(place) | {"job": job.name})
    elif job.name:
        click.echo(job.name)
        click.echo(f"Follow it with: gobbler jobs follow {job.name}", err=True)
    else:
        click.echo(f"published {common.printable(str(place))}; the service knows no jobs")


def _upload(client: Client, place: Address, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - passed on
    begun = time.monotonic()
    with Bar("copying to staging", afterwards="publishing") as bar:
        publishing = bar.next("publishing")
        version = client.upload(str(place), progress=bar, publishing=publishing, **options)
    seconds = time.monotonic() - begun
    outcome: dict[str, object] = {}
    lines = [f"published {common.printable(str(place))} in {seconds:.1f} s"]
    if client.connection.can_read:
        stored, linked = count(version.manifest(overwrite=True))
        on_probation = version.summary(overwrite=True).on_probation
        outcome = {
            "on_probation": on_probation,
            "stored": stored._asdict(),
            "linked": linked._asdict(),
        }
        lines += [f"stored    {stored}", f"linked    {linked}"]
        if on_probation:
            lines.append("The version is on probation: an owner of the project must approve it.")
    if as_json:
        common.print_json(common.named(place) | outcome | {"seconds": round(seconds, 3)})
    else:
        click.echo("\n".join(lines))


def _print_plan(plan: UploadPlan, as_json: bool) -> None:
    if as_json:
        common.print_json(plan)
        return
    rows = [
        *(("store", path, common.size(size)) for path, size in plan.stored.items()),
        *(("link", path, target) for path, target in plan.linked.items()),
        *(("whitelisted?", path, target) for path, target in plan.undecided.items()),
        *(("empty", path, "") for path in plan.empty),
    ]
    common.print_table(("", "path", "size or target"), rows)
    click.echo(
        f"would store {len(plan.stored)} files of {common.size(plan.bytes)} and link "
        f"{len(plan.linked)}",
        err=True,
    )
