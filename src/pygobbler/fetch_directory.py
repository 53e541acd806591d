"""A directory of a registry, on this machine."""

from __future__ import annotations

from gobbler.client import Client


def fetch_directory(
    path: str,
    registry: str,
    url: str,
    cache: str | None = None,
    force_remote: bool = False,
    overwrite: bool = False,
    concurrent: int = 1,
) -> str:
    """Path of a directory of the registry on this machine, downloaded if need be.

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
            Whether to fetch again what is in the cache. The old copy stays until the new one
            is complete.
        concurrent:
            How many files are downloaded at a time.

    Returns:
        Where to read the directory: in the registry itself, which must not be changed, or in
        the cache. A copy there is complete, empty directories included, or absent; once it is
        there, nothing is asked of the service any more.

    Raises:
        gobbler.errors.Missing: There is no such directory. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = Client(url, registry=registry, cache=cache, force_remote=force_remote)
    return client.fetch_directory(path, overwrite=overwrite, concurrent=concurrent)
