"""Fetch the usage of a project."""

from __future__ import annotations

from pygobbler._reading import reading_client


def fetch_usage(project: str, registry: str, url: str, force_remote: bool = False) -> int:
    """Return the bytes that the files of a project take; links take none.

    Args:
        project:
            Name of the project.
        registry:
            Path of the registry. If it is a directory on this machine, it is read directly.
        url:
            Address of the service, used if the registry can't be read directly.
        force_remote:
            Ask the service even if ``registry`` is a directory on this machine.

    Returns:
        A number of bytes.

    Raises:
        gobbler.errors.Missing: There is no such project. This is also a ``FileNotFoundError``
            when the registry is read directly, and a ``requests.HTTPError`` otherwise.
    """
    return reading_client(url, registry, force_remote=force_remote).project(project).usage()
