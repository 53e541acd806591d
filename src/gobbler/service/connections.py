"""What the kernel knows of connections, and the limits that it keeps for them."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

TCP_USER_TIMEOUT = 18
TCP_NOTSENT_LOWAT = 25
"""Options of ``tcp(7)`` that older releases of Python do not name."""

STALLED_AFTER = 120.0
"""Seconds without progress after which a connection or a transfer is given up."""

UNSENT = 256 * 1024
"""Bytes that the kernel queues for a client beyond what is on its way to it."""

_BYTES_ACKED = struct.Struct("=Q")
_AT = 120
"""Where ``struct tcp_info`` has the number of bytes that the other end has confirmed."""


class Readable(Protocol):
    """A socket whose options can be read."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """An option of ``buflen`` bytes."""


def limit_connections(listener: socket.socket) -> None:
    """Set limits for all connections to ``listener``.

    The kernel breaks a connection off when its client has taken nothing for
    :data:`STALLED_AFTER` seconds, and does not queue more than it needs. It sends answers without
    waiting for more.
    """
    listener.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(STALLED_AFTER * 1000))
    listener.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def taken(connection: Readable) -> int | None:
    """Number of bytes that the client has confirmed; ``None`` if the kernel does not say."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _AT + _BYTES_ACKED.size)
        return int(_BYTES_ACKED.unpack_from(info, _AT)[0])
    except (OSError, struct.error):
        return None
