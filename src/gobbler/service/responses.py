"""JSON answers, the headers of all answers, and errors of answers that have begun."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import msgspec

from gobbler.errors import Busy, Code, GobblerError
from gobbler.fs.os_errors import fault_from
from gobbler.service.http.answer import Answer, lines
from gobbler.service.http.exchange import Exchange

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

RETRY_AFTER = {"retry-after": "5"}
"""Seconds after which a client should repeat a request for which there was no place."""

JSON_HEAD = lines(
    {**ALWAYS, "content-type": "application/json", "content-security-policy": SANDBOX}
)

logger = logging.getLogger(__name__)


def json_answer(value: object, status: int = 200) -> Answer:
    """``value`` as an ``application/json`` answer."""
    return encoded_answer(msgspec.json.encode(value), status)


def encoded_answer(body: bytes, status: int = 200) -> Answer:
    """``body``, which is JSON, as an answer."""
    return Answer(status, JSON_HEAD, body)


def failure(error: GobblerError) -> Answer:
    """The answer for an error, with its reason and code."""
    answer = json_answer(error.answer(), error.status)
    return answer.with_headers(RETRY_AFTER) if isinstance(error, Busy) else answer


def stopping() -> Answer:
    """The answer of a service that stops and takes no new request."""
    error = GobblerError(
        "the service is stopping and takes no new requests",
        code=Code.STOPPING,
        hint="Send the request again in a moment.",
    )
    return json_answer(error.answer(), 503).with_headers(RETRY_AFTER)


async def answer_or_break_off(what: str, exchange: Exchange, work: Awaitable[None]) -> None:
    """Let ``work`` answer a request; answer its error, or log it if it has begun to answer.

    Then the answer breaks off: it is incomplete, as its client notices. ``what`` completes "could
    not ...".
    """
    try:
        await work
    except (GobblerError, OSError) as error:
        fault = error if isinstance(error, GobblerError) else fault_from(error, what)
        if exchange.has_begun:
            logger.warning("an answer breaks off: %s", fault.reason)
            exchange.abort()
        else:
            exchange.answer(failure(fault))
