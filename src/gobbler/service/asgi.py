"""Small things about ASGI, the interface to the HTTP server."""

from __future__ import annotations

from starlette.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return when the client is gone.

    What it still sends is of no interest; it is read so that nothing piles up.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
