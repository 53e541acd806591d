"""Fetch the summary of a version."""

from __future__ import annotations

from typing import Any

from gobbler.model.records import plain
from pygobbler._reading import reading_client


def fetch_summary(
    project: str,
    asset: str,
    version: str,
    registry: str,
    url: str,
    cache: str | None = None,
    force_remote: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Return the summary of a version: who published it, and when.

    As long as the version is on probation, its summary is fetched every time.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        cache:
            Directory for what is fetched over HTTP. By default the user's data directory, or
            ``$GOBBLER_CACHE``.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.
        overwrite:
            Fetch a copy in the cache again.

    Returns:
        A dict with ``upload_user_id``, ``upload_start`` and ``upload_finish`` (RFC 3339), and
        ``on_probation`` if it is true.

    Raises:
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = reading_client(url, registry, cache=cache, force_remote=force_remote)
    return plain(client.version(project, asset, version).summary(overwrite=overwrite))
