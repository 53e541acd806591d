"""Links that would lead to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gobbler.client import Client
from gobbler.model.records import plain


def reroute_links(
    to_delete: Sequence[Mapping[str, Any]], staging: str, url: str, dry_run: bool = False
) -> list[dict[str, Any]]:
    """Lead links around what is going to be deleted. Only administrators may.

    A link to a file that is going to be deleted is made to point to where that file was linked
    to itself; where there is no such place that stays, a copy of the file takes its place.
    Nothing is deleted by this.

    Args:
        to_delete:
            What is going to be deleted: dicts with ``project``, and to delete only a part of
            it, ``asset``, and maybe ``version``.
        staging:
            Path of the staging directory of the service.
        url:
            Address of the service.
        dry_run:
            Whether to change nothing, and only tell what would be changed.

    Returns:
        A dict for every link that is changed, with

        - ``path``: path of the link in the registry;
        - ``copy``: whether a copy of the file takes its place;
        - ``source``: path of the file in the registry that is going to be deleted;
        - ``usage``: bytes that the copy adds to the usage of its project.

    Raises:
        requests.HTTPError: The service refused or failed; the text is its reason.
    """
    changes = Client(url, staging=staging).admin.reroute_links(to_delete, dry_run=dry_run)
    return [plain(change) for change in changes]
