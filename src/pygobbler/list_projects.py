"""Names of the projects of a registry."""

from __future__ import annotations

from gobbler.client import Client
from gobbler.client.handle import names_of


def list_projects(registry: str, url: str, force_remote: bool = False) -> list[str]:
    """Names of all projects, in order.

    Args:
        registry:
            Path of the registry. Where it is a directory on this machine, it is read directly.
        url:
            Address of the service, for when the registry can't be read directly.
        force_remote:
            Whether to ask the service even if ``registry`` is a directory here.

    Returns:
        The names; directories of the service itself are left out.
    """
    client = Client(url, registry=registry, force_remote=force_remote)
    return names_of(client.projects())


def list_registry_directories(path: str, registry: str, url: str, force_remote: bool) -> list[str]:
    """Names of the directories directly in a directory of the registry, in order.

    Args:
        path:
            Path in the registry; ``"."`` is the registry itself.
        registry:
            Path of the registry. Where it is a directory on this machine, it is read directly.
        url:
            Address of the service, for when the registry can't be read directly.
        force_remote:
            Whether to ask the service even if ``registry`` is a directory here.

    Returns:
        The names; those of the service itself (``..logs``) are included.

    Raises:
        gobbler.errors.Missing: There is no such directory. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    return Client(url, registry=registry, force_remote=force_remote).admin.directories(path)
