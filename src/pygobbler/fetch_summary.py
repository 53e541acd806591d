"""Who published a version, and when."""

from __future__ import annotations

from typing import Any

from gobbler.client import Client
from gobbler.model.records import plain


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
    """The summary of a version: who published it, and when.

    A summary in the cache that tells of a version on probation is fetched again.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        registry:
            Path of the registry. Where it is a directory on this machine, it is read directly.
        url:
            Address of the service, for when the registry can't be read directly.
        cache:
            Directory for what is fetched over HTTP. By default the user's data directory, or
            ``$GOBBLER_CACHE``.
        force_remote:
            Whether to ask the service even if ``registry`` is a directory here.
        overwrite:
            Whether to fetch again what is in the cache.

    Returns:
        A dict with ``upload_user_id``, ``upload_start`` and ``upload_finish`` (RFC 3339), and
        ``on_probation`` if that is so.

    Raises:
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = Client(url, registry=registry, cache=cache, force_remote=force_remote)
    return plain(client.version(project, asset, version).summary(overwrite=overwrite))
