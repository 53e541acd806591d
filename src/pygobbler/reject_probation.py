"""Versions on probation that go."""

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
    """Remove a version on probation for good. Its owners may, and whoever uploaded it.

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
            Whether to go on if its records can't be read.
        spoof:
            User to act for, where the service allows that.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    Client(url, staging=staging).version(project, asset, version).reject(force=force, spoof=spoof)
