"""Versions on probation that become final."""

from __future__ import annotations

from gobbler.client import Client


def approve_probation(
    project: str, asset: str, version: str, staging: str, url: str, spoof: str | None = None
) -> None:
    """Make a version on probation final. Its owners may: of the project, or of the asset.

    It becomes the latest version, unless one that was uploaded later is final already.

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
            User to act for, where the service allows that.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    Client(url, staging=staging).version(project, asset, version).approve(spoof=spoof)
