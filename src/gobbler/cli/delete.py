"""``gobbler delete``: delete a project, an asset or a version."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import click

from gobbler.cli import common, terminal
from gobbler.cli.amounts import Amount, below, count, reason_of
from gobbler.client import Client, LinkChange, RequestFailed, Version
from gobbler.client.address import Address, deletion_target, not_there, parse_as
from gobbler.client.client import resolve_latest
from gobbler.errors import Cancelled, Code, Forbidden, GobblerError, Refused, quoted
from gobbler.model.records import Manifest, plain

SHOWN_LINKS = 10


@click.command()
@common.address("address", metavar="PROJECT[/ASSET[/VERSION]]")
@click.option("--yes", "-y", is_flag=True, help="Don't ask for confirmation.")
@click.option(
    "--force",
    is_flag=True,
    help="Delete even if records can't be read, or links of other versions would break.",
)
@common.dry_run
@common.changes
@common.as_json
def command(
    client: Client, address: str, yes: bool, force: bool, dry_run: bool, as_json: bool
) -> None:
    """Delete a project, an asset or a version permanently.

    If links of other versions would break, the command deletes nothing: redirect them with
    `gobbler reroute` first, or let them break with --force. Only administrators of the
    service can do this.

    \b
    Examples:
      gobbler delete weather/stations/1.0 --dry-run
      gobbler delete weather/stations/1.0
      gobbler delete weather --yes
    """
    place = resolve_latest(client, parse_as(address, "project", "asset", "version"))
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("Confirm with --yes: the input is not a terminal.")
    survey = _survey(client, place)
    if dry_run:
        _report(place, survey, "would delete", as_json=as_json, dry_run=True)
        return
    if not force:
        _check(place, survey)
    if not yes:
        _ask(place, survey)
    _delete(client, place, force=force)
    _report(place, survey, "deleted", as_json=as_json, dry_run=False)


@dataclass
class _Survey:
    """The effects of a deletion.

    ``broken`` are links of other versions that would break; ``problems`` say what is unknown.
    """

    versions: list[Version]
    stored: Amount
    linked: Amount
    broken: list[LinkChange]
    problems: list[str] = field(default_factory=list)


def _survey(client: Client, place: Address) -> _Survey:
    problems: list[str] = []
    manifests: list[Manifest] = []
    versions = _versions(client, place)
    for version in versions:
        try:
            manifests.append(version.manifest(overwrite=True))
        except GobblerError as error:
            problems.append(error.reason)
        except OSError as error:
            problems.append(f"{quoted(version.key.manifest)}: {reason_of(error)}")
    stored, linked = count(*manifests)
    broken: list[LinkChange] = []
    try:
        broken = client.admin.reroute_links([deletion_target(place)], dry_run=True)
    except Forbidden as error:
        raise Forbidden(
            f"you may not delete {quoted(str(place))}",
            hint="Ask an administrator of the service.",
        ) from error
    except RequestFailed as error:
        problems.append(f"links from other versions are unknown: {error.reason}")
    return _Survey(versions, stored, linked, broken, problems)


def _versions(client: Client, place: Address) -> list[Version]:
    """The versions at ``place``. Raises :class:`~gobbler.errors.Missing` if it does not exist."""
    versions = list(below(client, place))
    if not place.version:
        return versions
    named = [version for version in versions if version.name == place.version]
    if not named:
        raise not_there(place)
    return named


def _check(place: Address, survey: _Survey) -> None:
    """Refuse a deletion with side effects, which needs ``--force``."""
    if survey.broken:
        number = len(survey.broken)
        links = "1 link" if number == 1 else f"{number} links"
        raise Refused(
            f"{links} of other versions would break, such as {quoted(survey.broken[0].path)}",
            code=Code.WOULD_BREAK_LINKS,
            hint=f"Redirect them: gobbler reroute {place}. Or let them break: --force.",
        )
    if survey.problems:
        raise Refused(
            f"parts of the deletion are unknown: {'; '.join(survey.problems)}",
            code=Code.DAMAGED_RECORD,
            hint="Delete it anyway with --force.",
        )


def _ask(place: Address, survey: _Survey) -> None:
    terminal.print_facts(_facts(place, survey, "delete"), err=True)
    if not click.confirm("Delete this permanently?", err=True):
        raise Cancelled("nothing was deleted")


def _delete(client: Client, place: Address, *, force: bool) -> None:
    if place.version:
        client.admin.delete_version(place.project, place.asset, place.version, force=force)
    elif place.asset:
        client.admin.delete_asset(place.project, place.asset, force=force)
    else:
        client.admin.delete_project(place.project)


def _report(place: Address, survey: _Survey, what: str, *, as_json: bool, dry_run: bool) -> None:
    if not as_json:
        terminal.print_facts(_facts(place, survey, what))
        return
    terminal.print_json(
        common.named(place)
        | {
            "dry_run": dry_run,
            "versions": [str(version) for version in survey.versions],
            "stored": survey.stored._asdict(),
            "linked": survey.linked._asdict(),
            "broken_links": [plain(link) for link in survey.broken],
            "problems": survey.problems,
        }
    )


def _facts(place: Address, survey: _Survey, what: str) -> list[tuple[str, str]]:
    facts = [
        (what, str(place)),
        ("versions", str(len(survey.versions))),
        ("stored", str(survey.stored)),
        ("linked", str(survey.linked)),
        ("broken links", str(len(survey.broken))),
    ]
    facts += [("", f"{link.path} -> {link.source}") for link in survey.broken[:SHOWN_LINKS]]
    if len(survey.broken) > SHOWN_LINKS:
        facts.append(("", "..."))
    return facts + [("unknown", problem) for problem in survey.problems]
