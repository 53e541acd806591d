"""``gobbler upload``: publish a directory as a new version."""

from __future__ import annotations

import time
from typing import Any

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import Amount, count, number
from gobbler.cli.progress_bar import Bar
from gobbler.client import Client, Version
from gobbler.client.address import AT_LATEST, Address, parse_as
from gobbler.client.notices import StepFailed, notify
from gobbler.client.upload import UploadPlan
from gobbler.errors import Code, GobblerError, Refused


@click.command()
@click.argument("directory", type=click.Path())
@common.address("address", metavar="PROJECT/ASSET/VERSION")
@click.option("--probation", is_flag=True, help="Publish on probation: the version needs approval.")
@click.option(
    "--consume/--no-consume",
    default=None,
    help="Let the service move files out of DIRECTORY. Default: no.",
)
@click.option(
    "--ignore-dot/--keep-dot",
    default=False,
    help="Leave out names that start with a dot, and list them. Default: keep them.",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="Publish what symbolic links lead to in their place, if it is elsewhere or a directory.",
)
@click.option("--no-wait", is_flag=True, help="Don't wait; print the name of the job.")
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
    follow_links: bool,
    no_wait: bool,
    dry_run: bool,
    spoof: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Publish DIRECTORY as a new version of an asset, whole or not at all.

    Files that the latest version has, too, become links and take no space. So do symbolic
    links to files of the registry, or to other files of DIRECTORY. A published version never
    changes.

    \b
    Examples:
      gobbler upload ./results weather/stations/1.3
      gobbler upload ./results weather/stations/2.0-beta --probation

    All files are taken, also those whose names start with a dot; --ignore-dot leaves these out.
    Names that start with '..' belong to the service, and are always left out. The command says
    what it leaves out, and if the version has no files, or the same files as the latest one.

    A link to anything else is refused. For trees of links, as Nextflow, git-annex or Hugging Face
    make them, --follow-links publishes the files and directories that the links lead to. A
    version does not keep that files are executable; the command says which are.

    If DIRECTORY is in staging, the service reads it there. Otherwise, the command copies it
    to staging, and removes the copy afterwards, also after Ctrl-C. It copies nothing if the
    version exists, the project is missing, or you may not upload.

    With --dry-run, the command scans DIRECTORY as the service does, shows which files the
    upload would store or link, and fails if an entry can't be published. It copies nothing,
    and does not check whether you may upload.

    With --no-wait, the command ends when the service has the request, and prints the name of
    its job: see 'gobbler jobs'. Without an address of a service (see 'gobbler config show'),
    the request goes through --staging to any worker there.
    """
    place = parse_as(address, "version")
    if place.version == AT_LATEST:
        raise Refused(
            f"{AT_LATEST} is the name of an existing version",
            code=Code.INVALID_ADDRESS,
            hint="Choose a name for the new version.",
        )
    if dry_run:
        plan = client.plan_upload(
            str(place), directory, ignore_dot=ignore_dot, follow_links=follow_links
        )
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
        follow_links=follow_links,
        spoof=spoof,
        concurrent=jobs,
    )


def _submit(client: Client, place: Address, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - passed on
    with Bar("copying to staging") as bar:
        job = client.submit(str(place), progress=bar, **options)
    if as_json:
        terminal.print_json(common.named(place) | {"job": job.name})
    elif job.name:
        click.echo(job.name)
        click.echo(f"Follow it with: gobbler jobs follow {job.name}", err=True)
    else:
        click.echo(f"published {terminal.printable(str(place))}; this service has no jobs")


def _upload(client: Client, place: Address, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - passed on
    begun = time.monotonic()
    with Bar("copying to staging", afterwards="publishing") as bar:
        publishing = bar.next("publishing")
        version = client.upload(str(place), progress=bar, publishing=publishing, **options)
    seconds = time.monotonic() - begun
    outcome = _outcome(version) if client.connection.can_read else {}
    if as_json:
        terminal.print_json(common.named(place) | outcome | {"seconds": round(seconds, 3)})
        return
    lines = [f"published {terminal.printable(str(place))} in {seconds:.1f} s"]
    lines += [f"{what:<9} {Amount(**outcome[what])}" for what in ("stored", "linked") if outcome]
    if outcome.get("on_probation"):
        lines.append(f"on probation; an owner can run: gobbler probation approve {place}")
    click.echo("\n".join(lines))


def _outcome(version: Version) -> dict[str, Any]:
    """What was published; empty if it can't be read now, which is no failure of the upload."""
    try:
        stored, linked = count(version.manifest(overwrite=True))
        on_probation = version.summary(overwrite=True).on_probation
    except (GobblerError, OSError) as error:
        reason = error.reason if isinstance(error, GobblerError) else error.strerror
        notify(f"the version is published, but its records can't be read: {reason}", StepFailed)
        return {}
    return {
        "on_probation": on_probation,
        "stored": stored._asdict(),
        "linked": linked._asdict(),
    }


def _print_plan(plan: UploadPlan, as_json: bool) -> None:
    if as_json:
        terminal.print_json(plan)
        return
    rows = [
        *(("store", path, terminal.size(size)) for path, size in plan.stored.items()),
        *(("link", path, target) for path, target in plan.linked.items()),
        *(("refused unless whitelisted", path, target) for path, target in plan.undecided.items()),
        *(("empty", path, "") for path in plan.empty),
    ]
    terminal.print_table(("", "path", "size or target"), rows)
    click.echo(
        f"would store {number(len(plan.stored), 'file')} ({number(plan.bytes, 'byte')}) and link "
        f"{number(len(plan.linked), 'file')}",
        err=True,
    )
