"""Paths below a registry as they come from callers and from listings: trusted by nobody."""

from __future__ import annotations

import hashlib
import re

from gobbler.errors import Fault, Refused, quoted

_LEAVING = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")
"""A component that is empty, ``.`` or ``..``, or a character that ends a path."""


def registry_path(path: str) -> str:
    """``path`` without a slash at its end.

    Raises :class:`~gobbler.errors.Refused` if it could lead out of the registry: if it is
    empty, absolute, or has a component that is empty, ``.`` or ``..``.
    """
    cleaned = path.rstrip("/")
    if not is_below(cleaned):
        raise Refused(
            f"{quoted(path)} is not a path in the registry",
            hint="Write it like project/asset/version/file.",
        )
    return cleaned


def listed_path(path: str) -> str:
    """``path``, an entry of a service's listing, if it stays below what was listed.

    Raises :class:`~gobbler.errors.Fault` otherwise: such a service is not to be trusted.
    """
    if not is_below(path.removesuffix("/")):
        raise Fault(f"the service lists {quoted(path)}, which would leave the directory")
    return path


def is_below(path: str) -> bool:
    """Whether the relative ``path`` names something strictly below where it starts."""
    return _LEAVING.search(path) is None


def digest(path: str) -> str:
    """A name for what is kept about ``path`` that no other path has."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def unpack(path: str) -> dict[str, str | None]:
    """``project/asset/version/path`` by its parts; ``path`` is ``None`` for a version itself.

    Nothing is checked, except that there are three parts at least: else ``ValueError``.
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
