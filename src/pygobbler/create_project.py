"""New projects."""

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
    """Make a project. Only administrators of the service may.

    Args:
        project:
            Name of the new project.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        owners:
            Users who own it; by default the present user alone.
        uploaders:
            Who else may upload, like ``uploaders`` in
            :func:`~pygobbler.fetch_permissions.fetch_permissions`.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    Client(url, staging=staging).admin.create_project(project, owners=owners, uploaders=uploaders)
