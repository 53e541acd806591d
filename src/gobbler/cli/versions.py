"""What commands tell about versions: how much is in them, and what their summary says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rich.filesize import decimal

from gobbler.client import Client
from gobbler.client.calls.addresses import Address
from gobbler.client.plain import plain
from gobbler.errors import GobblerError
from gobbler.names import VersionKey
from gobbler.records import Manifest


class Amount(NamedTuple):
    """A number of files, and of bytes in them."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files} file{'' if self.files == 1 else 's'}, {decimal(self.bytes)}"


def count(*manifests: Manifest) -> tuple[Amount, Amount]:
    """What of some versions is stored in them, and what is linked to other places."""
    entries = [entry for manifest in manifests for entry in manifest.values()]
    return (
        _amount(e.size for e in entries if e.link is None and not e.is_directory),
        _amount(e.size for e in entries if e.link is not None),
    )


def _amount(sizes: Iterable[int]) -> Amount:
    each = list(sizes)
    return Amount(len(each), sum(each))


def below(client: Client, place: Address) -> Iterator[VersionKey]:
    """The versions in a project or an asset, or in the whole registry if it is neither."""
    for project in [place.project] if place.project else client.projects():
        for asset in [place.asset] if place.asset else client.assets(project):
            for version in client.versions(project, asset):
                yield VersionKey(project, asset, version)


def describe(client: Client, key: VersionKey) -> dict[str, Any]:
    """The summary of a version, or under ``problem`` why there is none to be shown."""
    try:
        summary = client.summary(key.project, key.asset, key.version)
    except GobblerError as error:
        # One damaged version must not hide the others.
        return {"problem": error.reason}
    return plain(summary) | {"on_probation": summary.on_probation}
