"""Is a version what it was?"""

from __future__ import annotations

from gobbler.client import Client


def validate_version(project: str, asset: str, version: str, staging: str, url: str) -> None:
    """Compare a version with its records, every byte of it. Only administrators may.

    Nothing is changed. Returns if all is right.

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
        requests.HTTPError: Something is wrong, and the text says what, or the service refused
            or failed. The attribute ``problems`` is the whole list of what is wrong.
    """
    Client(url, staging=staging).admin.validate_version(project, asset, version)
