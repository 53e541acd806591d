"""A version as a tree of links."""

from __future__ import annotations

from gobbler.client import Client


def clone_version(project: str, asset: str, version: str, destination: str, registry: str) -> None:
    """Build the tree of a version out of symlinks into the registry.

    This is the cheap start of the next version: remove the links of what changes, write new
    files in their place, and upload the result. What is still a link is stored as one.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        destination:
            Directory to build in; made if it is missing.
        registry:
            Path of the registry, which must be a directory on this machine.

    Raises:
        FileExistsError: A file stands where a link should.
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    Client(registry=registry).version(project, asset, version).clone(destination)
