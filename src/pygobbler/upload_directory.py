"""Publish a directory as a version."""

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

    Symlinks to files of the registry, or to other files of ``directory``, become links. Files
    that are the same as in the latest version become links to it.

    Args:
        project:
            Name of an existing project.
        asset:
            Name of a new or existing asset in it.
        version:
            Name of the version, which must not exist.
        directory:
            Directory to publish. If it is not in ``staging``, it is first copied there; the copy is
            removed afterwards, also after a failure.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        probation:
            Publish the version on probation: it must be approved before it is final.
        consume:
            Whether the service may move the files out of the directory instead of copying them.
            By default only if the directory is a copy that this call made.
        ignore_dot:
            Leave out names that start with a dot. A warning, ``gobbler.client.notices.LeftOut``,
            tells which.
        spoof:
            Act for this user, where the service allows it.
        concurrent:
            Number of files that are copied into staging at a time.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
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
