"""``gobbler cache``: what was downloaded, and whether it is still whole."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click
from rich.filesize import decimal

from gobbler.cli import common
from gobbler.cli.amounts import age
from gobbler.client import CacheEntry, Client, PruneResult

DAMAGED = 1
"""The exit code when there is damage."""


@click.group()
def command() -> None:
    """Look after the files that `gobbler fetch` and `cat` have downloaded.

    Where the registry is mounted nothing is downloaded. Everything in the cache can be
    fetched again, so that it may be removed at any time. No service is asked.

    \b
    Examples:
      gobbler cache ls
      gobbler cache verify
      gobbler cache prune --older-than 30d --dry-run
    """


@command.command(short_help="List what was downloaded.")
@common.about_the_cache
@common.as_json
def ls(client: Client, as_json: bool) -> None:
    """List what was downloaded: its size, when it was last used, and where it is from.

    Files that are the same take their space only once, so that the sum may be more than
    the cache takes. Where the output is no terminal, sizes are in bytes.

    \b
    Examples:
      gobbler cache ls
      gobbler cache ls | sort -n
      gobbler cache ls --json
    """
    listed = client.cache.entries()
    if as_json:
        common.print_json({"cache": client.cache.path, "entries": [_described(e) for e in listed]})
        return
    rows = [[common.size(e.size), str(e.files), _date(e.used), _name(e), e.service] for e in listed]
    common.print_table([">size", ">files", "used", "what", "from"], rows)


@command.command(short_help="Compare what was downloaded with its manifests.")
@click.option("--remove", is_flag=True, help="Remove what is damaged, to be fetched again.")
@common.about_the_cache
@common.as_json
def verify(client: Client, remove: bool, as_json: bool) -> int:
    """Read every file in the cache and compare it with the manifest of its version.

    Ends with 1 if something is damaged that was not removed.

    \b
    Examples:
      gobbler cache verify
      gobbler cache verify --remove
    """
    found = list(client.cache.verify())
    doomed = list({each.entry.whole: each.entry for each in found}.values())
    if remove:
        client.cache.remove(*doomed)
    if as_json:
        damage = [_described(e.entry) | {"file": e.file, "problem": e.problem} for e in found]
        common.print_json({"cache": client.cache.path, "damage": damage, "removed": remove})
    else:
        for each in found:
            click.echo(f"{common.printable(each.file)}: {common.printable(each.problem)}")
        _conclude(client, len(doomed), remove=remove)
    return DAMAGED if doomed and not remove else 0


def _conclude(client: Client, count: int, *, remove: bool) -> None:
    if not count:
        click.echo(f"all is well in {common.printable(client.cache.path)}")
    elif remove:
        click.echo(f"removed what is damaged ({_entries(count)}); fetch it again")
    else:
        click.echo(f"error: {_entries(count)} of the cache {_are(count)} damaged", err=True)
        click.echo("hint: gobbler cache verify --remove, then fetch again", err=True)


@command.command(short_help="Remove what was not used for long.")
@click.option(
    "--older-than",
    type=age,
    default="30d",
    show_default=True,
    metavar="AGE",
    help="Not used for so long: 12h, 30d, 2w; 0 for everything.",
)
@common.dry_run
@common.about_the_cache
@common.as_json
def prune(client: Client, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Remove what was not used for long, and what is left of downloads that were broken off.

    Files that a program has open stay readable for it; one that opens them later by their
    path finds them gone, so don't prune below running jobs.

    \b
    Examples:
      gobbler cache prune
      gobbler cache prune --older-than 12h --dry-run
      gobbler cache prune --older-than 0
    """
    pruned = client.cache.prune(older_than, dry_run=dry_run)
    if as_json:
        common.print_json(_told(client, pruned, dry_run=dry_run))
        return
    verb = "would remove" if dry_run else "removed"
    for entry in pruned.entries:
        click.echo(f"{verb} {common.printable(_name(entry))}")
    left = f" and {pruned.leftovers} leftovers" if pruned.leftovers else ""
    click.echo(f"{verb} {_entries(len(pruned.entries))}{left}: {decimal(pruned.freed)}")


def _told(client: Client, pruned: PruneResult, *, dry_run: bool) -> dict[str, Any]:
    return {
        "cache": client.cache.path,
        "entries": [_described(entry) for entry in pruned.entries],
        "leftovers": pruned.leftovers,
        "freed": pruned.freed,
        "dry_run": dry_run,
    }


def _described(entry: CacheEntry) -> dict[str, Any]:
    return {
        "service": entry.service,
        "address": entry.path,
        "path": entry.place,
        "directory": entry.is_directory,
        "files": entry.files,
        "size": entry.size,
        "used": _date(entry.used),
    }


def _name(entry: CacheEntry) -> str:
    if not entry.path:
        return entry.place
    return f"{entry.path}/" if entry.is_directory else entry.path


def _date(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
