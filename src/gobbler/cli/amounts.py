"""Amounts on the command line: ages, moments and budgets; files and bytes of versions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.filesize import decimal

from gobbler.client.address import Address
from gobbler.errors import GobblerError, quoted
from gobbler.model.records import Manifest, plain

if TYPE_CHECKING:
    from gobbler.client import Budget, Client, Version
    from gobbler.client.registry_walk import SkippedEntry

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_BYTES = {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgtp", 1)
    for unit, base in (("b", 1000), ("ib", 1024))
}


def age(text: str) -> float:
    """The seconds of an age such as ``12h`` or ``30d``. The default unit is days."""
    seconds = _seconds(text if re.search(r"\D\Z", text) else f"{text}d")
    if seconds is None:
        raise click.BadParameter(f"{quoted(text)} is not an age. Write it like 12h, 30d or 2w.")
    return seconds


def moment(text: str) -> dt.datetime:
    """The moment of ``2026-11-20`` or ``2026-11-20T18:00`` (local time), or of an age: ``30d``."""
    now = dt.datetime.now().astimezone()
    try:
        seconds = _seconds(text)
        if seconds is not None:
            return now - dt.timedelta(seconds=seconds)
        # Python 3.10 does not read the Z for UTC.
        found = dt.datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text)).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{quoted(text)} is neither an age nor a date. Write it like 30d or 2026-11-20."
        ) from None
    if found > now:
        raise click.BadParameter(f"{quoted(text)} is in the future.")
    return found


def budget(text: str) -> Budget:
    """A budget of time (``90m``, ``2h``, ``1d``) or bytes (``500GB``, ``2TiB``); ``0``: nothing."""
    from gobbler.client import Budget

    seconds = _seconds(text)
    match = re.fullmatch(r"(\d{1,12})([a-z]+)", text.lower(), re.ASCII)
    size = int(match[1]) * _BYTES[match[2]] if match and match[2] in _BYTES else None
    if text == "0":
        seconds = 0.0
    if seconds is None and size is None:
        raise click.BadParameter(
            f"{quoted(text)} is not a budget. Write it like 2h, 90m, 500GB or 2TiB."
        )
    return Budget(seconds, size)


def budgets(given: Sequence[Budget]) -> Budget:
    """The smallest time and the smallest size of all ``given`` budgets."""
    from gobbler.client import Budget

    return Budget(
        min((b.seconds for b in given if b.seconds is not None), default=None),
        min((b.bytes for b in given if b.bytes is not None), default=None),
    )


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII)
    return None if match is None else float(int(match[1]) * _SECONDS[match[2]])


class Amount(NamedTuple):
    """A number of files and their bytes."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files} file{'' if self.files == 1 else 's'}, {decimal(self.bytes)}"


def count(*manifests: Manifest) -> tuple[Amount, Amount]:
    """The stored and the linked amount of some versions."""
    entries = [entry for manifest in manifests for entry in manifest.values()]
    return (
        _amount(e.size for e in entries if e.link is None and not e.is_directory),
        _amount(e.size for e in entries if e.link is not None),
    )


def _amount(sizes: Iterable[int]) -> Amount:
    each = list(sizes)
    return Amount(len(each), sum(each))


def below(client: Client, place: Address) -> Iterator[Version]:
    """The versions of an asset, a project, or the whole registry for an empty address.

    Prints a warning for what can't be read, or is nobody's project, asset or version.
    """

    from gobbler.client.registry_walk import RegistryWalk

    def report(entry: SkippedEntry) -> None:
        click.echo(f"warning: skipping {entry}", err=True)

    walk = RegistryWalk(client.connection.source, report=report)
    for key in walk.all_versions(place.project, place.asset):
        yield client.version(*key)


def reason_of(error: GobblerError | OSError) -> str:
    """Why something can't be read."""
    return error.reason if isinstance(error, GobblerError) else str(error.strerror or error)


def describe(version: Version) -> dict[str, Any]:
    """The summary of a version; under ``problem`` why it can't be read."""
    try:
        summary = version.summary()
    except (GobblerError, OSError) as error:
        # One damaged version must not hide the others.
        return {"problem": reason_of(error)}
    return plain(summary) | {"on_probation": summary.on_probation}


def number(count: int, what: str) -> str:
    """``1 version``, ``2 versions``."""
    return f"{count} {what}{'' if count == 1 else 's'}"
