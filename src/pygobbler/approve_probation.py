"""Approve a version on probation."""

from __future__ import annotations

from gobbler.client import Client


def approve_probation(
    project: str, asset: str, version: str, staging: str, url: str, spoof: str | None = None
) -> None:
    """End the probation of a version. Owners of its project or asset may do this.

    It becomes the latest version, unless a version that was uploaded later is final already.

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
        spoof:
            Act for this user, where the service allows it.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    Client(url, staging=staging).version(project, asset, version).approve(spoof=spoof)
