"""How long a client waits for an answer that arrives, but slowly.

The time limit of a connection begins anew with each byte. A service that sends one now and then
could hold a client for as long as it likes. So what has begun to arrive has to keep up a speed.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

PATIENCE = 60.0
"""Seconds of waiting, after the first byte, for which no speed is demanded."""

SLOWEST = 1024.0
"""Bytes that must arrive for each further second of waiting."""


class Arrival(io.RawIOBase):
    """The bytes of one answer as they arrive from ``raw``; only waiting for them takes time.

    The first byte may take as long as the connection allows, since the service may be at work.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._received = 0
        self._waited = 0.0

    def readable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor of the connection."""
        return self._raw.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read what has arrived; raises :class:`TimeoutError` if that is too little by now."""
        began = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        if self._received:
            self._waited += time.monotonic() - began
        self._received += count or 0
        if count and self._waited > PATIENCE + self._received / SLOWEST:
            raise TimeoutError(f"{self._received} bytes arrived in {self._waited:.0f} seconds")
        return count

    def close(self) -> None:
        """Close the answer, not the connection."""
        self._raw.close()
        super().close()


class ArrivingResponse(HTTPResponse):
    """An answer of a connection, which has to keep up a speed."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp = io.BufferedReader(Arrival(self.fp.detach()))
