"""Reject a version on probation."""

from __future__ import annotations

from gobbler.client import Client


def reject_probation(
    project: str,
    asset: str,
    version: str,
    staging: str,
    url: str,
    force: bool = False,
    spoof: str | None = None,
) -> None:
    """Remove a version on probation for good. Its owners and its uploader may do this.

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
        force:
            Remove it even if its records can't be read.
        spoof:
            Act for this user, where the service allows it.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    Client(url, staging=staging).version(project, asset, version).reject(force=force, spoof=spoof)
