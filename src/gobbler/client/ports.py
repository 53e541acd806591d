"""Ports for services that are started for a while, so that no two of them get the same one.

To look which port is free and to listen there are two steps, and who is quick gets between
them. What is worse, a service that shares its port with others of its kind (``SO_REUSEPORT``,
see ``socket(7)``) is not told: half of the requests go to the wrong one. So whoever wants a
port first takes the UDP port of the same number, which nobody can share, and which the kernel
frees when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import secrets
import socket

from gobbler.errors import Fault

HOST = "127.0.0.1"

PORTS = range(20000, 32768)
"""Below those that Linux gives to connections (``ip_local_port_range``, see ``ip(7)``)."""

ATTEMPTS = 1000


class ReservedPort:
    """A TCP port of the loopback where nobody listens, of those ``among`` which to choose.

    Until :meth:`release`, or the end of a ``with`` block, it is given to nobody else who takes
    a port in this way, in whichever process of this machine. Who doesn't may still listen at
    it. ``number`` is the port. Raises :class:`~gobbler.errors.Fault` where none is found.
    """

    def __init__(self, among: range = PORTS) -> None:
        for _ in range(ATTEMPTS):
            self.number = secrets.choice(among)
            lock = _bound(self.number, socket.SOCK_DGRAM)
            if lock is None:
                continue
            if not _is_free(self.number):
                lock.close()
                continue
            self._lock = lock
            return
        raise Fault(
            f"no port of {HOST} was found free, of those from {among[0]} to {among[-1]}",
            hint="Name one that is.",
        )

    def release(self) -> None:
        """Let others have it; safe to call again."""
        self._lock.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def _is_free(number: int) -> bool:
    probe = _bound(number, socket.SOCK_STREAM)
    if probe is None:
        return False
    probe.close()
    return True


def _bound(number: int, kind: socket.SocketKind) -> socket.socket | None:
    """A socket at the port ``number``; ``None`` if another has that."""
    made = socket.socket(socket.AF_INET, kind)
    try:
        made.bind((HOST, number))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return made
