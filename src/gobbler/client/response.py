"""The answer to a request as it arrives, whichever way it was sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

PIECE_BYTES = 1 << 17
"""Bytes to read from a connection at a time; no more are lost when it breaks."""


class Response(Protocol):
    """An answer whose status and headers are here, and whose body is still to be read.

    The names are those of ``requests.Response``, which is one.
    """

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def reason(self) -> str:
        """The words beside the status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; upper and lower case of their names are the same."""

    @property
    def content(self) -> bytes:
        """The whole body."""

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """The body in pieces of at most ``chunk_size`` bytes, unpacked if a proxy packed it."""
