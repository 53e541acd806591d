"""The records of what is in a version, made anew."""

from __future__ import annotations

from gobbler.client import Client


def reindex_version(project: str, asset: str, version: str, staging: str, url: str) -> None:
    """Make the manifest and the links of a version anew from its files. Only administrators may.

    For when they were damaged, or after files were put into the version by hand.

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
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    Client(url, staging=staging).admin.reindex_version(project, asset, version)
