"""Fetch the name of the latest version."""

from __future__ import annotations

from pygobbler._reading import reading_client


def fetch_latest(
    project: str, asset: str, registry: str, url: str, force_remote: bool = False
) -> str | None:
    """Return the name of an asset's latest version. Versions on probation don't count.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        The name; ``None`` if there is no final version, or no such asset.
    """
    client = reading_client(url, registry, force_remote=force_remote)
    latest = client.asset(project, asset).latest()
    return None if latest is None else latest.name
