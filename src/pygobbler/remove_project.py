"""Remove a project."""

from __future__ import annotations

from gobbler.client import Client


def remove_project(project: str, staging: str, url: str) -> None:
    """Remove a project with all its assets. Only administrators may do this.

    If there is no such project, nothing happens.

    Args:
        project:
            Name of the project.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    Client(url, staging=staging).admin.delete_project(project)
