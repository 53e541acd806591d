"""``gobbler cache``: list, verify or prune downloaded files."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click
from rich.filesize import decimal

from gobbler.cli import common, terminal
from gobbler.cli.amounts import age
from gobbler.client import CacheEntry, Client, PruneResult

DAMAGED = 1
"""The exit code for damaged files."""


@click.group()
def command() -> None:
    """List, verify or prune the files that `gobbler fetch` and `gobbler cat` downloaded.

    You can remove the cache at any time: commands fetch what they need again. Where the
    registry is mounted, commands download nothing. These commands work without a service.

    \b
    Examples:
      gobbler cache ls
      gobbler cache verify
      gobbler cache prune --older-than 30d --dry-run
    """


@command.command(short_help="List downloaded files.")
@common.uses_cache
@common.as_json
def ls(client: Client, as_json: bool) -> None:
    """List downloads: size, last use and source.

    Identical files take their space once, so the sum of sizes can exceed the size of the
    cache. Sizes are in bytes unless the output is a terminal.

    \b
    Examples:
      gobbler cache ls
      gobbler cache ls | sort -n
      gobbler cache ls --json
    """
    listed = client.cache.entries()
    if as_json:
        terminal.print_json(
            {"cache": client.cache.path, "entries": [_described(e) for e in listed]}
        )
        return
    rows = [
        [terminal.size(e.size), str(e.files), _date(e.used), _name(e), e.service] for e in listed
    ]
    terminal.print_table([">size", ">files", "used", "what", "from"], rows)


@command.command(short_help="Compare downloaded files with their manifests.")
@click.option("--remove", is_flag=True, help="Remove damaged files.")
@common.uses_cache
@common.as_json
def verify(client: Client, remove: bool, as_json: bool) -> int:
    """Read every file in the cache and compare it with the manifest of its version.

    Also asks the services whether each version is still the same: one that was deleted, or
    published anew, is reported and removed like damage. Without a service, or with
    GOBBLER_OFFLINE=1, that is left out. Exit code 1: a damaged file remains.

    \b
    Examples:
      gobbler cache verify
      gobbler cache verify --remove
    """
    found = list(client.cache.verify())
    damaged = list({each.entry.whole: each.entry for each in found}.values())
    if remove:
        client.cache.remove(*damaged)
    if as_json:
        damage = [_described(e.entry) | {"file": e.file, "problem": e.problem} for e in found]
        terminal.print_json({"cache": client.cache.path, "damage": damage, "removed": remove})
    else:
        for each in found:
            click.echo(f"{terminal.printable(each.file)}: {terminal.printable(each.problem)}")
        _conclude(client, len(damaged), remove=remove)
    return DAMAGED if damaged and not remove else 0


def _conclude(client: Client, count: int, *, remove: bool) -> None:
    if not count:
        click.echo(f"no damage in {terminal.printable(client.cache.path)}")
    elif remove:
        click.echo(f"removed {_entries(count)} with damage; fetch again what you need")
    else:
        click.echo(f"error: {_entries(count)} of the cache {_are(count)} damaged", err=True)
        click.echo("hint: Remove the damage: gobbler cache verify --remove", err=True)


@command.command(short_help="Remove old downloads.")
@click.option(
    "--older-than",
    type=age,
    default="30d",
    show_default=True,
    metavar="AGE",
    help="Last use longer ago than that: 12h, 30d, 2w; 0 for everything.",
)
@common.dry_run
@common.uses_cache
@common.as_json
def prune(client: Client, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Remove downloads that you have not used for a while, and parts of interrupted ones.

    A program that has a file open can still read it, but can't open it again: don't prune
    while jobs use the cache.

    \b
    Examples:
      gobbler cache prune
      gobbler cache prune --older-than 12h --dry-run
      gobbler cache prune --older-than 0
    """
    pruned = client.cache.prune(older_than, dry_run=dry_run)
    if as_json:
        terminal.print_json(_pruned_document(client, pruned, dry_run=dry_run))
        return
    verb = "would remove" if dry_run else "removed"
    for entry in pruned.entries:
        click.echo(f"{verb} {terminal.printable(_name(entry))}")
    left = f" and {pruned.leftovers} leftovers" if pruned.leftovers else ""
    click.echo(f"{verb} {_entries(len(pruned.entries))}{left}: {decimal(pruned.freed)}")


def _pruned_document(client: Client, pruned: PruneResult, *, dry_run: bool) -> dict[str, Any]:
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
