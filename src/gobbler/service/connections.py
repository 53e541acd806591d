"""The sockets of this process, which the HTTP server opens and keeps to itself.

It has no way to break off a connection whose client takes nothing, nor to see what a client has
taken. The kernel has both, once the socket is found: by its two ends, so that it can't be mistaken
for another one.
"""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress

TCP_USER_TIMEOUT = 18
TCP_NOTSENT_LOWAT = 25
"""Options of ``tcp(7)`` that older releases of Python do not name."""

STALLED_AFTER = 120.0
"""Seconds without progress after which a transfer is given up."""

UNSENT = 256 * 1024
"""Bytes that the kernel queues for a client beyond what is on its way to it."""

MOST_DESCRIPTORS = 1 << 16
"""How many descriptors are tried where the kernel does not list them."""

_BYTES_ACKED = struct.Struct("=Q")
_AT = 120
"""Where ``struct tcp_info`` has the number of bytes that the other end has confirmed."""

Ends = tuple[str, int, int]
"""Address and port of a client, and the port of the service that it is connected to."""


def limit_connections(listener: socket.socket) -> None:
    """Set limits for all connections to ``listener``.

    The kernel breaks a connection off when its client has taken nothing for
    :data:`STALLED_AFTER` seconds, whatever waits in the server, and does not queue more than it
    needs.
    """
    listener.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(STALLED_AFTER * 1000))
    listener.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)


def find(wanted: Collection[Ends]) -> dict[Ends, socket.socket]:
    """The open connections among ``wanted``, as sockets of their own, which the caller closes."""
    found: dict[Ends, socket.socket] = {}
    for connection in _sockets():
        with suppress(OSError):
            address, port = connection.getpeername()[:2]
            ends = (address, port, connection.getsockname()[1])
            if ends in wanted and ends not in found:
                found[ends] = connection
                continue
        connection.close()
    return found


def taken(connection: socket.socket) -> int | None:
    """Number of bytes that the client has confirmed; ``None`` if the kernel does not say."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _AT + _BYTES_ACKED.size)
        return int(_BYTES_ACKED.unpack_from(info, _AT)[0])
    except (OSError, struct.error):
        return None


def break_off(connection: socket.socket) -> None:
    """End a connection; the server notices that as if the client had done it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def break_off_all(port: int) -> None:
    """End all connections to ``port`` of this process."""
    for connection in _sockets():
        with connection, suppress(OSError):
            if connection.getsockname()[1] == port:
                connection.getpeername()  # raises for the listener
                connection.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """All TCP sockets of this process, each as a descriptor of its own."""
    for number in _descriptors():
        with suppress(OSError):  # closed meanwhile
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(number))
            if copy.family in (socket.AF_INET, socket.AF_INET6):
                yield copy
            else:
                copy.close()


def _descriptors() -> Collection[int]:
    """The numbers of all open descriptors of this process, and perhaps others."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except FileNotFoundError:  # `/proc` is not mounted
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return range(MOST_DESCRIPTORS if most < 0 else min(most, MOST_DESCRIPTORS))
