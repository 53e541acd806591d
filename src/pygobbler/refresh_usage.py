"""The record of the usage, made anew."""

from __future__ import annotations

from gobbler.client import Client


def refresh_usage(project: str, staging: str, url: str) -> int:
    """Count anew how much the files of a project take. Only administrators may.

    This puts the record right if it was damaged.

    Args:
        project:
            Name of the project.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.

    Returns:
        A number of bytes.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    return Client(url, staging=staging).admin.refresh_usage(project)
