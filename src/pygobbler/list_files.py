"""List the files of a version."""

from __future__ import annotations

from pygobbler._reading import reading_client


def list_files(
    project: str,
    asset: str,
    version: str,
    registry: str,
    url: str,
    prefix: str | None = None,
    include_dotdot: bool = True,
    force_remote: bool = False,
) -> list[str]:
    """Return the paths of all files of a version, and of its empty directories.

    Args:
        project:
            Name of the project.
        asset:
            Name of the asset in the project.
        version:
            Name of the version of the asset.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        prefix:
            List only paths that start with this text: ``"whee"`` finds ``whee2`` and
            ``whee/blah``, ``"whee/"`` only the latter.
        include_dotdot:
            List the service's own files, too, such as ``..manifest``.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        Paths relative to the version, in order. An empty directory ends with a slash.

    Raises:
        gobbler.errors.Missing: There is no such version. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    client = reading_client(url, registry, force_remote=force_remote)
    listed = client.version(project, asset, version)
    return listed.list_files(prefix or "", internal=include_dotdot)
