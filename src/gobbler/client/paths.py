"""Paths in a registry, from callers and from listings of a service: each is checked."""

from __future__ import annotations

import hashlib
import re

from gobbler.errors import Code, Fault, Refused, quoted

_LEAVING = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")
"""A component that is empty, ``.`` or ``..``, or a character that ends a path."""


def registry_path(path: str) -> str:
    """``path`` without a slash at its end.

    Raises :class:`~gobbler.errors.Refused` if it is empty, absolute, or has a component that is
    empty, ``.`` or ``..``: it could lead out of the registry.
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

    Raises :class:`~gobbler.errors.Fault` otherwise: such a service can't be trusted.
    """
    if not is_below(path.removesuffix("/")):
        raise Fault(
            f"the service lists {quoted(path)}, which would leave the directory",
            code=Code.INVALID_ANSWER,
            hint="Check the address of the service: gobbler info",
        )
    return path


def is_below(path: str) -> bool:
    """Whether the relative ``path`` is strictly below the directory that it starts from."""
    return _LEAVING.search(path) is None


def digest(path: str) -> str:
    """A file name for ``path`` that no other path has."""
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
