"""Reroute links around what is going to be deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gobbler.client import Client
from gobbler.model.records import plain


def reroute_links(
    to_delete: Sequence[Mapping[str, Any]], staging: str, url: str, dry_run: bool = False
) -> list[dict[str, Any]]:
    """Reroute links around what is going to be deleted. Only administrators may do this.

    If a link leads to a file that is going to be deleted, it then leads to where that file was
    linked to itself. If that is going to be deleted as well, a copy of the file replaces the
    link. This deletes nothing.

    Args:
        to_delete:
            What is going to be deleted: dicts with ``project``; to delete only a part of it, also
            ``asset``, and maybe ``version``.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        dry_run:
            Change nothing, and return what would be changed.

    Returns:
        A dict for every link that changes, with

        - ``path``: path of the link in the registry;
        - ``copy``: whether a copy of the file replaces it;
        - ``source``: path of the file in the registry that is going to be deleted;
        - ``usage``: bytes that the copy adds to the usage of its project.

    Raises:
        requests.HTTPError: The service refused the request or failed. The text is its reason.
    """
    changes = Client(url, staging=staging).admin.reroute_links(to_delete, dry_run=dry_run)
    return [plain(change) for change in changes]
