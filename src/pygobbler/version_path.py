"""A version of an asset, on this machine."""

from __future__ import annotations

from typing import Any

from pygobbler.fetch_directory import fetch_directory


def version_path(project: str, asset: str, version: str, **kwargs: Any) -> str:  # noqa: ANN401 - passed on
    """Path of a version on this machine, downloaded if need be.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        kwargs:
            What else :func:`~pygobbler.fetch_directory.fetch_directory` takes.

    Returns:
        As :func:`~pygobbler.fetch_directory.fetch_directory`.
    """
    return fetch_directory(f"{project}/{asset}/{version}", **kwargs)
