"""Reindex a version."""

from __future__ import annotations

from gobbler.client import Client


def reindex_version(project: str, asset: str, version: str, staging: str, url: str) -> None:
    """Write the manifest and the links of a version again, from its files.

    Only administrators may. Do this if the records are damaged, or after you changed files of
    the version by hand.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    Client(url, staging=staging).admin.reindex_version(project, asset, version)
