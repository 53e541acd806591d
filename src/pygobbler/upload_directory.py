"""New versions."""

from __future__ import annotations

from gobbler.client import Client


def upload_directory(
    project: str,
    asset: str,
    version: str,
    directory: str,
    staging: str,
    url: str,
    probation: bool = False,
    consume: bool | None = None,
    ignore_dot: bool = True,
    spoof: str | None = None,
    concurrent: int = 1,
) -> None:
    """Publish a directory as a new version of an asset, whole or not at all.

    Symlinks to files of the registry, and to other files of ``directory``, become links;
    files that the latest version has, too, are stored as links to it.

    Args:
        project:
            Name of an existing project.
        asset:
            Name of a new or existing asset in it.
        version:
            Name of the version, which must not exist.
        directory:
            Directory with the files. One that does not stand in ``staging`` is first copied
            there; the copy is removed afterwards, also after a failure.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        probation:
            Whether the version is not final before it has been approved.
        consume:
            Whether the service may move the files out of the directory instead of copying them.
            By default only out of a copy that was made here.
        ignore_dot:
            Whether to leave out names that start with a dot.
        spoof:
            User to act for, where the service allows that.
        concurrent:
            How many files are copied into staging at a time.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    Client(url, staging=staging).upload(
        project,
        asset,
        version,
        directory,
        probation=probation,
        consume=consume,
        ignore_dot=ignore_dot,
        spoof=spoof,
        concurrent=concurrent,
    )
