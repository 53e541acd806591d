"""A file of a registry, on this machine."""

from __future__ import annotations

from gobbler.client import Client


def fetch_file(
    path: str,
    registry: str,
    url: str,
    cache: str | None = None,
    force_remote: bool = False,
    overwrite: bool = False,
) -> str:
    """Path of a file of the registry on this machine, downloaded if need be.

    Args:
        path:
            Path in the registry, like ``project/asset/version/sub``.
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
        Where to read the file: in the registry itself, which must not be changed, or in the
        cache, where a file is complete or absent.

    Raises:
        gobbler.errors.Missing: There is no such file. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = Client(url, registry=registry, cache=cache, force_remote=force_remote)
    return client.fetch_file(path, overwrite=overwrite)
