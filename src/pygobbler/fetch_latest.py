"""The latest version of an asset."""

from __future__ import annotations

from gobbler.client import Client


def fetch_latest(
    project: str, asset: str, registry: str, url: str, force_remote: bool = False
) -> str | None:
    """Name of the version of an asset that was published last; none on probation counts.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        registry:
            Path of the registry. Where it is a directory on this machine, it is read directly.
        url:
            Address of the service, for when the registry can't be read directly.
        force_remote:
            Whether to ask the service even if ``registry`` is a directory here.

    Returns:
        The name, or ``None`` if there is no such version, or no such asset.
    """
    client = Client(url, registry=registry, force_remote=force_remote)
    latest = client.asset(project, asset).latest()
    return None if latest is None else latest.name
