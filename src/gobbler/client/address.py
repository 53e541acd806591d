"""Addresses as users write them, and the paths that they stand for.

An address is ``project/asset/version/path``, in which ``@latest`` may stand for a version. Paths
from callers and from listings of a service are checked before anything uses them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gobbler.errors import Code, Fault, Missing, Refused, quoted
from gobbler.model.names import check_name
from gobbler.model.requests import DeletionTarget


def registry_path(path: str) -> str:
    """``path`` without a slash at its end.

    Raises :class:`~gobbler.errors.Refused` if it is empty, absolute, or has a component that is
    empty, ``.`` or ``..``: it could lead outside of the registry.
    """
    cleaned = path.rstrip("/")
    if not is_below(cleaned):
        raise Refused(
            f"{quoted(path)} is not a path in the registry",
            code=Code.INVALID_NAME,
            hint="Write it like project/asset/version/file.",
        )
    return cleaned


def listed_path(path: str) -> str:
    """``path``, an entry of a listing of a service, if it is below what was listed.

    Otherwise raises :class:`~gobbler.errors.Fault`, since such a service can't be trusted.
    """
    if not is_below(path.removesuffix("/")):
        raise _not_listed(path, "would leave the directory")
    return path


def listed_paths(paths: list[str]) -> list[str]:
    """``paths``, a listing of a service; raises as :func:`listed_path` does."""
    # A component that leaves the directory shows in all of them together, too.
    if not is_below("/".join(paths)):
        for path in paths:
            listed_path(path)
    return paths


def listed_name(name: str) -> str:
    """``name``, an entry of a listing of one directory; raises as :func:`listed_path` does."""
    if "/" in listed_path(name):
        raise _not_listed(name, "is not in the directory itself")
    return name


def _not_listed(path: str, problem: str) -> Fault:
    return Fault(
        f"the service lists {quoted(path)}, which {problem}",
        code=Code.INVALID_ANSWER,
        hint="Check the address of the service: gobbler info",
    )


def is_below(path: str) -> bool:
    """Whether the relative ``path`` is strictly below the directory that it starts from."""
    enclosed = f"/{path}/"
    return not any(part in enclosed for part in ("//", "/./", "/../", "\0"))


def digest(path: str) -> str:
    """A file name for ``path`` that no other path has."""
    import hashlib

    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def unpack(path: str) -> dict[str, str | None]:
    """The parts of ``project/asset/version/path``; ``path`` is ``None`` for a version itself.

    Raises ``ValueError`` if there are fewer than three parts. Checks nothing else.
    """
    parts = path.split("/", 3)
    if len(parts) < 3:
        raise ValueError(f"{path!r} has fewer than three parts: project/asset/version")
    project, asset, version, *rest = parts
    return {
        "project": project,
        "asset": asset,
        "version": version,
        "path": (rest[0] if rest else "") or None,
    }


AT_LATEST = "@latest"
"""Stands for the latest version of an asset."""

AddressKind = Literal["project", "asset", "version"]

_FORMS: dict[AddressKind, str] = {
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
        """The level: 0 nothing, 1 a project, 2 an asset, 3 a version, 4 a path in a version."""
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


def parse_as(text: str, *kinds: AddressKind) -> Address:
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


def not_there(place: Address) -> Missing:
    """The error for an address at which the registry has nothing."""
    above = str(replace(place, path="")) if place.path else str(place).rpartition("/")[0]
    return Missing(
        f"{quoted(str(place))} is not in the registry",
        code=_NOT_FOUND[place.depth],
        hint=f"List what is there: gobbler ls {above}".rstrip(),
    )


def deletion_target(place: Address) -> DeletionTarget:
    """``place`` as the target of a deletion."""
    return DeletionTarget(place.project, place.asset or None, place.version or None)
