"""JSON answers, and what to do when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive

from gobbler.errors import Code, GobblerError

CORS = ("access-control-allow-origin", "*")


def json_answer(value: object, status: int = 200) -> Response:
    """``value`` as an ``application/json`` answer."""
    return Response(msgspec.json.encode(value), status, dict([CORS]), media_type="application/json")


def failure(error: GobblerError) -> Response:
    """The answer for an error, with its reason and code."""
    return json_answer(error.answer(), error.status)


RETRY_AFTER = 5
"""Seconds after which a client may send again what a stopping service has not taken."""


def stopping() -> Response:
    """The answer of a service that stops and takes no new request."""
    error = GobblerError(
        "the service is stopping and takes no new requests",
        code=Code.STOPPING,
        hint="Send the request again in a moment.",
    )
    answer = json_answer(error.answer(), 503)
    answer.headers["retry-after"] = str(RETRY_AFTER)
    answer.headers["connection"] = "close"
    return answer


T = TypeVar("T")


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected.

    Reads and drops a body, so that it does not pile up.
    """
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Await ``work``; if the client disconnects, cancel it and return ``None``.

    An answer to a client that is gone would wait for ever, and keep files open.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(receive))
    waited: set[asyncio.Future[Any]] = {working, gone}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
    with suppress(asyncio.CancelledError):
        return await working
    return None
