"""Foreign entries: directories in a registry that are nobody's project, asset or version."""

from __future__ import annotations

from collections.abc import Collection

from gobbler.model.names import LOST_AND_FOUND, PERMISSIONS, QUOTA, USAGE, is_internal


def is_usual(name: str) -> bool:
    """Whether filesystems, file servers and desktops make directories of this name.

    Examples are ``lost+found``, ``.snapshot`` and ``.Trash-1000``. A project may have such a name,
    too; its records tell.
    """
    return name == LOST_AND_FOUND or name.startswith(".")


def project_problem(files: Collection[str]) -> str | None:
    """Why a directory with these ``files`` is nobody's project; ``None`` if it is a project."""
    if any(name in files for name in (PERMISSIONS, USAGE, QUOTA)):
        return None
    return f"it is no project: it has no {PERMISSIONS}"


def part_problem(files: Collection[str]) -> str | None:
    """Why a directory in a project that :func:`is_usual` is nobody's; ``None`` if it is ours.

    The service leaves at least a lock in every asset, and records in every version.
    """
    if any(is_internal(file) for file in files):
        return None
    return "it has no record of the service"
