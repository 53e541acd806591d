"""List the projects of a registry."""

from __future__ import annotations

from gobbler.client.handle import names_of
from pygobbler._reading import reading_client


def list_projects(registry: str, url: str, force_remote: bool = False) -> list[str]:
    """Return the names of all projects, in order.

    Args:
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        The names, without the directories of the service.
    """
    client = reading_client(url, registry, force_remote=force_remote)
    return names_of(client.projects())


def list_registry_directories(path: str, registry: str, url: str, force_remote: bool) -> list[str]:
    """Return the names of the directories in a directory of the registry, in order.

    Args:
        path:
            Path in the registry; ``"."`` is the registry itself.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        The names, with those of the service (``..logs``).

    Raises:
        gobbler.errors.Missing: There is no such directory. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    return reading_client(url, registry, force_remote=force_remote).admin.directories(path)
