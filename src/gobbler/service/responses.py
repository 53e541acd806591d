"""JSON answers, the headers of all answers, and what to do when the client disconnects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gobbler.errors import Busy, Code, GobblerError
from gobbler.fs.os_errors import fault_from

CORS = ("access-control-allow-origin", "*")

ALWAYS = dict(
    [
        CORS,
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
    ]
)
"""Headers of every answer: any page may read it, and no browser takes it for another type."""

SANDBOX = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self' data:; "
    "style-src 'unsafe-inline'; font-src data:"
)
"""Content security policy for what users made: a browser runs no script in it, and gives it no
origin, so it can't act as a page of this service or of one beside it."""

RETRY_AFTER = 5
"""Seconds after which a client should repeat a request for which there was no place."""


def json_answer(value: object, status: int = 200) -> Response:
    """``value`` as an ``application/json`` answer."""
    return encoded_answer(msgspec.json.encode(value), status)


def encoded_answer(body: bytes, status: int = 200) -> Response:
    """``body``, which is JSON, as an answer."""
    answer = Response(body, status)
    # It would encode the same headers again and again.
    answer.raw_headers = [*JSON_HEADERS, (b"content-length", b"%d" % len(body))]
    return answer


def failure(error: GobblerError) -> Response:
    """The answer for an error, with its reason and code."""
    answer = json_answer(error.answer(), error.status)
    if isinstance(error, Busy):
        answer.headers["retry-after"] = str(RETRY_AFTER)
    return answer


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """``headers`` as ASGI wants them."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


JSON_HEADERS = encoded(
    {**ALWAYS, "content-type": "application/json", "content-security-policy": SANDBOX}
)


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

logger = logging.getLogger(__name__)


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


async def answer_or_break_off(
    what: str, scope: Scope, receive: Receive, send: Send, work: Callable[[Send], Awaitable[None]]
) -> None:
    """Let ``work`` answer a request; answer its error, or log it if it has begun to answer.

    Then the answer breaks off: it is incomplete, as its client notices. ``what`` completes "could
    not ...".
    """
    has_begun = False

    async def send_begun(message: Message) -> None:
        nonlocal has_begun
        has_begun = True
        await send(message)

    try:
        await work(send_begun)
    except (GobblerError, OSError) as error:
        fault = error if isinstance(error, GobblerError) else fault_from(error, what)
        if has_begun:
            logger.warning("an answer breaks off: %s", fault.reason)
        else:
            await failure(fault)(scope, receive, send)
