"""Refresh the usage of a project."""

from __future__ import annotations

from gobbler.client import Client


def refresh_usage(project: str, staging: str, url: str) -> int:
    """Count the bytes that the files of a project take again. Only administrators may do this.

    This repairs the record if it is damaged.

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
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    return Client(url, staging=staging).admin.refresh_usage(project)
