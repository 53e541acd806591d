"""Fetch the permissions of a project or an asset."""

from __future__ import annotations

from typing import Any

from gobbler.model.records import plain
from pygobbler._reading import reading_client


def fetch_permissions(
    project: str,
    registry: str,
    url: str,
    asset: str | bool | None = None,
    force_remote: bool = False,
) -> dict[str, Any]:
    """Return the permissions of a project, or those that an asset has of its own.

    Args:
        project:
            Name of the project.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        asset:
            Name of an asset, to get its permissions instead of the project's. A ``bool`` is taken
            as ``force_remote``, which was in this position in release 0.1.1.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        A dict with ``owners``, a list of users, and ``uploaders``, a list of dicts with

        - ``id``: the user;
        - ``asset``, ``version`` (optional): the entry is only for these;
        - ``until`` (optional): the time (RFC 3339) when the entry expires;
        - ``trusted`` (optional): whether uploads need no approval.

        A project may also have ``global_write``: whether every user may add an asset. An asset
        without permissions of its own has empty lists.

    Raises:
        gobbler.errors.Missing: There is no such project. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    if isinstance(asset, bool):
        force_remote, asset = asset, None
    client = reading_client(url, registry, force_remote=force_remote)
    owner = client.project(project) if asset is None else client.asset(project, asset)
    return plain(owner.permissions())
