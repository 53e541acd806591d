"""``health_check``: the service reads requests and answers."""

from __future__ import annotations

from gobbler.actions.context import RequestContext
from gobbler.model.requests import HealthCheck


def health_check(context: RequestContext, request: HealthCheck) -> dict[str, object]:
    """Do nothing, for anyone; the answer has no fields of its own."""
    del context, request
    return {}
