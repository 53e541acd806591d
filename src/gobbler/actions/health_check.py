"""``health_check``: the service reads requests and answers."""

from __future__ import annotations

from gobbler.actions.site import Call
from gobbler.requests import HealthCheck


def health_check(call: Call, request: HealthCheck) -> dict[str, object]:
    """Do nothing, for anyone; the answer has no fields of its own."""
    del call, request
    return {}
