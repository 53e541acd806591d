"""``gobbler staging``: list and remove what uploads left in staging."""

from __future__ import annotations

import time

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import age
from gobbler.client import staged_copies
from gobbler.client.staged_copies import StagedCopy
from gobbler.errors import Code, Fault, Forbidden, Missing, quoted
from gobbler.service.cleanup import sources_of_jobs
from gobbler.service.staging_cleanup import CleanedStaging, clean_staging

LEFT = 1
"""The exit code if something old could not be removed."""


@click.group("staging")
def command() -> None:
    """List and remove what uploads left in staging.

    A command that is killed, or does not wait for its job, leaves a copy in staging. Your next
    upload removes those copies that nobody needs any more; so does 'gobbler staging clean'.

    \b
    Examples:
      gobbler staging ls
      gobbler staging clean
      sudo gobbler staging clean --all --staging /data/staging
    """


@command.command("ls", short_help="List your copies in staging.")
@common.as_json
def ls(as_json: bool) -> None:
    """List the copies in staging that your commands made on this machine, and their sizes.

    \b
    Examples:
      gobbler staging ls
      gobbler staging ls --json
    """
    found = sorted(staged_copies.copies(), key=lambda copy: copy.made)
    described = [_described(copy) for copy in found]
    if as_json:
        terminal.print_json(described)
        return
    rows = [
        (str(each["size"]), "in use" if each["needed"] else "left", str(each["path"]))
        for each in described
    ]
    terminal.print_table((">size", "state", "copy"), rows)


def _described(copy: StagedCopy) -> dict[str, object]:
    return {
        "path": copy.path,
        "size": staged_copies.size_of(copy),
        "job": copy.job,
        "needed": not staged_copies.is_unneeded(copy),
    }


@command.command("clean", short_help="Remove copies that nobody needs.")
@click.option(
    "--all",
    "all_users",
    is_flag=True,
    help="Remove what any user left, as far as this account may; for root.",
)
@click.option("--staging", metavar="DIR", help="The staging directory, with --all.")
@click.option(
    "--older-than",
    type=age,
    default="7d",
    show_default=True,
    metavar="AGE",
    help="With --all: unchanged for that long, like 12h, 30d or 2w.",
)
@common.dry_run
@common.as_json
def clean(
    all_users: bool, staging: str | None, older_than: float, dry_run: bool, as_json: bool
) -> int:
    """Remove your copies in staging that no job needs any more.

    With --all, remove request files and directories of all users that nobody has changed for
    seven days, as a service does each day. A service may not remove what other accounts left
    in directories of their own; root may. The command follows no link, stays on the filesystem
    of staging, and keeps what waiting jobs need. Exit code 1: something old could not be
    removed.

    \b
    Examples:
      gobbler staging clean
      sudo gobbler staging clean --all --staging /data/staging
      sudo gobbler staging clean --all --staging /data/staging --older-than 30d --dry-run
    """
    if all_users:
        if not staging:
            raise click.UsageError("--all needs --staging DIR")
        found = _clean_all(staging, older_than, dry_run=dry_run)
    else:
        unneeded = [c for c in staged_copies.copies() if staged_copies.is_unneeded(c)]
        gone = [c for c in unneeded if dry_run or staged_copies.remove_copy(c)]
        found = CleanedStaging(
            [copy.path for copy in gone], [c.path for c in unneeded if c not in gone]
        )
    if as_json:
        terminal.print_json({"removed": found.removed, "left": found.left, "dry_run": dry_run})
    else:
        verb = "would remove" if dry_run else "removed"
        for name in found.removed:
            click.echo(f"{verb} {terminal.printable(name)}")
        for name in found.left:
            click.echo(f"could not remove {terminal.printable(name)}", err=True)
    return LEFT if found.left else 0


def _clean_all(staging: str, older_than: float, *, dry_run: bool) -> CleanedStaging:
    try:
        keep = sources_of_jobs(staging)
    except FileNotFoundError:
        keep = frozenset()  # no service has made its spool there
    except PermissionError:
        raise _not_allowed(staging) from None
    try:
        return clean_staging(staging, time.time() - older_than, keep=keep, dry_run=dry_run)
    except FileNotFoundError:
        raise Missing(f"{quoted(staging)} does not exist", code=Code.NOT_FOUND) from None
    except PermissionError:
        raise _not_allowed(staging) from None
    except OSError as error:
        raise Fault(f"{quoted(staging)} can't be read: {error.strerror}") from error


def _not_allowed(staging: str) -> Forbidden:
    return Forbidden(
        f"this account may not see what is in {quoted(staging)}",
        code=Code.UNREADABLE,
        hint="Run it as root, or as the account of the service.",
    )
