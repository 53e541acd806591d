"""The record of the latest version, made anew."""

from __future__ import annotations

from gobbler.client import Client


def refresh_latest(project: str, asset: str, staging: str, url: str) -> str | None:
    """Find anew which version of an asset is the latest. Only administrators may.

    This puts the record right if it was damaged.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.

    Returns:
        The name of the version, or ``None`` if there is none that is not on probation.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    return Client(url, staging=staging).admin.refresh_latest(project, asset)
