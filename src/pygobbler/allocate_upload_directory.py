"""A place for files that are going to be uploaded."""

from __future__ import annotations

from gobbler.client import staging as _staging


def allocate_upload_directory(staging: str, create: bool = True) -> str:
    """Find a directory in staging that nobody else uses.

    Fill it, then give it to :func:`~pygobbler.upload_directory.upload_directory`.

    Args:
        staging:
            Path of the staging directory.
        create:
            Whether to make the directory, or only tell a name that is free.

    Returns:
        Its path. Its permissions are what the umask and the ACLs of staging give, so that the
        service can read it.
    """
    return _staging.allocate_upload_directory(staging, create=create)
