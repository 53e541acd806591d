"""Validate a version."""

from __future__ import annotations

from gobbler.client import Client


def validate_version(project: str, asset: str, version: str, staging: str, url: str) -> None:
    """Compare every byte of a version with its records. Only administrators may do this.

    Changes nothing. Returns if the version is valid.

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
        requests.HTTPError: The version is not valid, and the text says why; or the service
            refused the request or failed. The attribute ``problems`` lists all problems.
    """
    Client(url, staging=staging).admin.validate_version(project, asset, version)
