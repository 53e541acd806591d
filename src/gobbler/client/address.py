"""Addresses as people write them: ``project/asset/version/path``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gobbler.client.calls.reads import Reads
from gobbler.errors import Missing, Refused, quoted
from gobbler.model.names import check_name, is_internal
from gobbler.model.requests import DeletionTarget

LATEST = "@latest"
"""Stands for the version that was published last."""

Kind = Literal["project", "asset", "version"]

_FORMS: dict[Kind, str] = {
    "project": "project",
    "asset": "project/asset",
    "version": "project/asset/version",
}


@dataclass(frozen=True)
class Address:
    """What an address names: the parts that it has not are empty."""

    project: str = ""
    asset: str = ""
    version: str = ""
    path: str = ""

    @property
    def depth(self) -> int:
        """How much is given: 0 nothing, 1 a project, 2 an asset, 3 a version, 4 a path in it."""
        return sum(part != "" for part in (self.project, self.asset, self.version, self.path))

    def __str__(self) -> str:
        return "/".join(
            part for part in (self.project, self.asset, self.version, self.path) if part
        )


def parse(text: str) -> Address:
    """The address that ``text`` writes; a slash at its end makes no difference.

    Raises :class:`~gobbler.errors.Refused` if one of its names can't be one.
    """
    if text.strip("/") == "":
        return Address()
    parts = text.rstrip("/").split("/", 3)
    for what, part in zip(("project", "asset", "version"), parts, strict=False):
        check_name(what, part)
    return Address(*parts)


def parse_as(text: str, *kinds: Kind) -> Address:
    """The address of one of ``kinds``, with nothing below it."""
    address = parse(text)
    forms = [_FORMS[kind] for kind in kinds]
    if address.depth not in [form.count("/") + 1 for form in forms]:
        article = "an" if kinds[0] == "asset" else "a"
        raise Refused(
            f"{quoted(text)} is not the address of {article} {' or '.join(kinds)}",
            hint=f"Write it as {' or '.join(forms)}.",
        )
    return address


def resolve(client: Reads, address: Address) -> Address:
    """``address`` with the name of the latest version in the place of ``@latest``."""
    if address.version != LATEST:
        return address
    latest = client.latest(address.project, address.asset)
    if latest is None:
        asset = f"{address.project}/{address.asset}"
        raise Missing(
            f"asset {quoted(asset)} has no latest version",
            hint=f"It may have versions on probation: gobbler ls {asset}",
        )
    return replace(address, version=latest)


def is_file(client: Reads, place: Address) -> bool:
    """Whether a resolved address means a file; the manifest of its version knows."""
    if not place.path:
        return False
    if is_internal(place.path.rpartition("/")[2]):
        return True
    manifest = client.manifest(place.project, place.asset, place.version)
    entry = manifest.get(place.path)
    if entry is not None:
        return not entry.is_directory
    if not any(path.startswith(place.path + "/") for path in manifest):
        raise not_there(place)
    return False


def not_there(place: Address) -> Missing:
    """The error for an address of which only the version is there, if that."""
    above = str(replace(place, path="")) if place.path else str(place).rpartition("/")[0]
    return Missing(
        f"{quoted(str(place))} is not in the registry",
        hint=f"See what there is: gobbler ls {above}".rstrip(),
    )


def doomed(place: Address) -> DeletionTarget:
    """What ``place`` names, as a thing that is to be deleted."""
    return DeletionTarget(place.project, place.asset or None, place.version or None)
