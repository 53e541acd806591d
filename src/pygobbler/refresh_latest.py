"""Refresh the latest version of an asset."""

from __future__ import annotations

from gobbler.client import Client


def refresh_latest(project: str, asset: str, staging: str, url: str) -> str | None:
    """Determine the latest version of an asset again. Only administrators may do this.

    This repairs the record if it is damaged.

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
        The name of the version; ``None`` if none is final.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    return Client(url, staging=staging).admin.refresh_latest(project, asset)
