"""Fetch a directory of a registry."""

from __future__ import annotations

from pygobbler._reading import reading_client


def fetch_directory(
    path: str,
    registry: str,
    url: str,
    cache: str | None = None,
    force_remote: bool = False,
    overwrite: bool = False,
    concurrent: int = 1,
) -> str:
    """Return the path of a registry's directory on this machine; download it if needed.

    Args:
        path:
            Path in the registry, like ``project/asset/version/sub``.
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
            Fetch a copy in the cache again. The old copy stays until the new one is complete.
        concurrent:
            Number of files that are downloaded at a time.

    Returns:
        The path of the directory, in the registry, which you must not change, or in the cache. A
        copy in the cache is complete, with its empty directories, or absent. Once it is there,
        no request is made.

    Raises:
        gobbler.errors.Missing: There is no such directory. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = reading_client(url, registry, cache=cache, force_remote=force_remote)
    return client.fetch_directory(path, overwrite=overwrite, concurrent=concurrent)
