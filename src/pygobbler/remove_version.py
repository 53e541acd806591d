"""Remove a version."""

from __future__ import annotations

from gobbler.client import Client


def remove_version(
    project: str, asset: str, version: str, staging: str, url: str, force: bool = False
) -> None:
    """Remove a version. Only administrators may do this.

    If there is no such version, nothing happens. Links from other versions into it
    break, unless you reroute them before: see
    :func:`~pygobbler.reroute_links.reroute_links`.

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

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    Client(url, staging=staging).admin.delete_version(project, asset, version, force=force)
