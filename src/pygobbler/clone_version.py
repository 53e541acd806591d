"""Clone a version as a tree of symlinks."""

from __future__ import annotations

from gobbler.client import Client


def clone_version(project: str, asset: str, version: str, destination: str, registry: str) -> None:
    """Build the tree of a version from symlinks into the registry.

    Start a new version this way: replace the links of the files that change, and upload the
    result. What is still a link is stored as a link.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        destination:
            Directory for the tree; created if it does not exist.
        registry:
            Path of the registry, which must be a directory on this machine.

    Raises:
        FileExistsError: The path of a link exists already.
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    Client(registry=registry).version(project, asset, version).clone(destination)
