"""Fetch a version."""

from __future__ import annotations

from typing import Any

from pygobbler.fetch_directory import fetch_directory


def version_path(project: str, asset: str, version: str, **kwargs: Any) -> str:  # noqa: ANN401 - passed on
    """Return the path of a version on this machine; download it if needed.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        kwargs:
            Further arguments of :func:`~pygobbler.fetch_directory.fetch_directory`.

    Returns:
        What :func:`~pygobbler.fetch_directory.fetch_directory` returns.
    """
    return fetch_directory(f"{project}/{asset}/{version}", **kwargs)
