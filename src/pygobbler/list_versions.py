"""List the versions of an asset."""

from __future__ import annotations

from gobbler.client.handle import names_of
from pygobbler._reading import reading_client


def list_versions(
    project: str, asset: str, registry: str, url: str, force_remote: bool = False
) -> list[str]:
    """Return the names of all versions of an asset, in order, with those on probation.

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
        The names.

    Raises:
        gobbler.errors.Missing: There is no such asset. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = reading_client(url, registry, force_remote=force_remote)
    return names_of(client.asset(project, asset).versions())
