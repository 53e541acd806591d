"""Addresses as users write them: ``project/asset/version/path``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gobbler.errors import Code, Missing, Refused, quoted
from gobbler.model.names import check_name
from gobbler.model.requests import DeletionTarget

if TYPE_CHECKING:
    from gobbler.client.client import Client

LATEST = "@latest"
"""Stands for the latest version of an asset."""

Kind = Literal["project", "asset", "version"]

_FORMS: dict[Kind, str] = {
    "project": "project",
    "asset": "project/asset",
    "version": "project/asset/version",
}

_NOT_FOUND = (
    Code.NOT_FOUND,
    Code.PROJECT_NOT_FOUND,
    Code.ASSET_NOT_FOUND,
    Code.VERSION_NOT_FOUND,
    Code.FILE_NOT_FOUND,
)
"""The code for an address of each depth."""


@dataclass(frozen=True)
class Address:
    """The parts of an address; those that it does not have are empty."""

    project: str = ""
    asset: str = ""
    version: str = ""
    path: str = ""

    @property
    def depth(self) -> int:
        """What it names: 0 nothing, 1 a project, 2 an asset, 3 a version, 4 a path in a version."""
        return sum(part != "" for part in (self.project, self.asset, self.version, self.path))

    def __str__(self) -> str:
        return "/".join(
            part for part in (self.project, self.asset, self.version, self.path) if part
        )


def parse(text: str) -> Address:
    """Parse ``text``, with or without a slash at the end.

    Raises :class:`~gobbler.errors.Refused` if one of its names is not valid.
    """
    if text.strip("/") == "":
        return Address()
    parts = text.rstrip("/").split("/", 3)
    for what, part in zip(("project", "asset", "version"), parts, strict=False):
        check_name(what, part)
    return Address(*parts)


def parse_as(text: str, *kinds: Kind) -> Address:
    """Parse ``text``, which must be the address of one of ``kinds``, not of anything in it."""
    address = parse(text)
    forms = [_FORMS[kind] for kind in kinds]
    if address.depth not in [form.count("/") + 1 for form in forms]:
        article = "an" if kinds[0] == "asset" else "a"
        raise Refused(
            f"{quoted(text)} is not the address of {article} {' or '.join(kinds)}",
            code=Code.INVALID_ADDRESS,
            hint=f"Write it as {' or '.join(forms)}.",
        )
    return address


def resolve(client: Client, address: Address) -> Address:
    """``address`` with the name of the latest version instead of ``@latest``.

    Raises :class:`~gobbler.errors.Missing` if there is no latest version.
    """
    if address.version != LATEST:
        return address
    return replace(address, version=client.version(address.project, address.asset).name)


def not_there(place: Address) -> Missing:
    """The error for an address at which the registry has nothing."""
    above = str(replace(place, path="")) if place.path else str(place).rpartition("/")[0]
    return Missing(
        f"{quoted(str(place))} is not in the registry",
        code=_NOT_FOUND[place.depth],
        hint=f"List what is there: gobbler ls {above}".rstrip(),
    )


def doomed(place: Address) -> DeletionTarget:
    """``place`` as the target of a deletion."""
    return DeletionTarget(place.project, place.asset or None, place.version or None)
