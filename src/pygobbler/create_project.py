"""Create a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gobbler.client import Client


def create_project(
    project: str,
    staging: str,
    url: str,
    owners: Sequence[str] | None = None,
    uploaders: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Create a project. Only administrators of the service may do this.

    Args:
        project:
            Name of the new project.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        owners:
            Users who own it; by default only the present user.
        uploaders:
            Who else may upload, in the form of ``uploaders`` in
            :func:`~pygobbler.fetch_permissions.fetch_permissions`.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    client = Client(url, staging=staging)
    client.admin.create_project(project, owners=owners, uploaders=uploaders, force=True)
