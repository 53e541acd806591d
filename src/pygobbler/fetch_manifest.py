"""Fetch the manifest of a version."""

from __future__ import annotations

from typing import Any

from gobbler.model.records import plain
from pygobbler._reading import reading_client


def fetch_manifest(
    project: str,
    asset: str,
    version: str,
    registry: str,
    url: str,
    cache: str | None = None,
    force_remote: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Return the manifest of a version: its files, with their sizes, checksums and links.

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
        A dict by path in the version, of dicts with

        - ``size``: bytes;
        - ``md5sum``: the MD5 in 32 hexadecimal digits, or ``""`` for an empty directory;
        - ``link``, only if the file is stored elsewhere: ``project``, ``asset``, ``version`` and
          ``path`` of the file that it links to, and if that is a link as well, an ``ancestor``
          that names the real file in the same way.

    Raises:
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = reading_client(url, registry, cache=cache, force_remote=force_remote)
    return plain(client.version(project, asset, version).manifest(overwrite=overwrite))
