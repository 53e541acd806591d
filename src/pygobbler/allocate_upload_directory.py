"""A new directory in staging."""

from __future__ import annotations


def allocate_upload_directory(staging: str, create: bool = True) -> str:
    """Make a new directory in staging.

    Write files into it, then publish it with
    :func:`~pygobbler.upload_directory.upload_directory`.

    Args:
        staging:
            Path of the staging directory.
        create:
            Make the directory; otherwise only return a path that is free.

    Returns:
        The path of the directory. Everybody can read it, and only you can write it, whatever the
        umask. Files that you put there need the mode that lets the service read them.
    """
    from gobbler.client import staging as _staging
    from gobbler.client.staging_directory import StagingDirectory

    return _staging.allocate_upload_directory(StagingDirectory(staging), create=create)
