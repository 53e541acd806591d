"""Answers as JSON."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from gobbler.errors import GobblerError

CORS = ("access-control-allow-origin", "*")


def json_answer(value: object, status: int = 200) -> Response:
    """``value`` as an ``application/json`` answer."""
    return Response(msgspec.json.encode(value), status, dict([CORS]), media_type="application/json")


def failure(error: GobblerError) -> Response:
    """The answer that tells an error: its reason, and the hint behind it if there is one."""
    return json_answer(error.answer(), error.status)
