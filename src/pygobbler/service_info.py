"""Ask a service for its directories."""

from __future__ import annotations

from typing import Any

from gobbler.client import Client
from gobbler.model.records import plain


def service_info(url: str) -> dict[str, Any]:
    """Return the directories of a service.

    Args:
        url:
            Address of the service.

    Returns:
        A dict with the paths ``staging`` and ``registry``.

    Raises:
        requests.ConnectionError: No service answers.
    """
    return plain(Client(url).info())
