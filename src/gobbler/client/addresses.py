"""Addresses as people write them: ``project/asset/version/path``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gobbler.client.reads import Reads
from gobbler.errors import Missing, Refused, quoted
from gobbler.names import check_name

LATEST = "@latest"
"""Stands for the version that was published last."""


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


def parse_version(text: str) -> Address:
    """The address of a version, all three names and no path."""
    address = parse(text)
    if address.depth != 3:
        raise Refused(
            f"{quoted(text)} is not the address of a version",
            hint="Write it as project/asset/version.",
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
