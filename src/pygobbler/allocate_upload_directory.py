"""A new directory in staging."""

from __future__ import annotations

from gobbler.client import staging as _staging


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
        The path of the directory. Its permissions are those that the umask and the ACLs of
        staging give, so that the service can read it.
    """
    return _staging.allocate_upload_directory(staging, create=create)
