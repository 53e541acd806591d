"""A whole answer, and the lines of its headers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}

WITHOUT_BODY = frozenset((204, 304))
"""Statuses whose answers have no body, and no length."""


class Answer(NamedTuple):
    """An answer in one piece: a status, lines of headers as :func:`lines` makes them, a body.

    The server adds the headers of the connection, the date and the length. ``length`` is that of
    the body where it is left out, as in an answer to ``HEAD``.
    """

    status: int
    head: bytes
    body: bytes = b""
    length: int | None = None

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        """The same answer with more headers."""
        return self._replace(head=self.head + lines(headers))


def lines(headers: Mapping[str, str]) -> bytes:
    """``headers`` as they are sent. Raises ``ValueError`` for what would end a line."""
    made = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if made.count("\n") != len(headers) or made.count("\r") != len(headers) or "\0" in made:
        raise ValueError(f"these headers can't be sent: {headers!r}")
    return made.encode("latin-1")
