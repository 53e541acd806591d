"""Reserve a free port, so that no two services that start at the same time get the same one.

Between finding a free port and listening there, another process may take it. Services that share
a port with others of their kind (``SO_REUSEPORT``, see ``socket(7)``) get no error then: half of
the requests go to the wrong one. So a process that needs a port first binds the UDP port of the
same number, which can't be shared, and which the kernel releases when the process ends.
"""

from __future__ import annotations

import errno
import secrets
import socket

from gobbler.errors import Code, Fault

HOST = "127.0.0.1"

PORTS = range(20000, 32768)
"""Below the ports that Linux uses for connections (``ip_local_port_range``, see ``ip(7)``)."""

PORT_ATTEMPTS = 1000


class ReservedPort:
    """A free TCP port of the loopback address, ``number``, chosen from ``among``.

    No other process of this machine that reserves ports in this way gets it until
    :meth:`release`, the end of a ``with`` block or of the process. A process that does not
    reserve ports may still listen there. Raises :class:`~gobbler.errors.Fault` if no port is
    found.
    """

    def __init__(self, among: range = PORTS) -> None:
        for _ in range(PORT_ATTEMPTS):
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
            f"no free port found at {HOST} from {among[0]} to {among[-1]}",
            code=Code.MISCONFIGURED,
            hint="Pass the number of a free port.",
        )

    def release(self) -> None:
        """Let other processes reserve it. Safe to call again."""
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
    """A socket bound to the port ``number``; ``None`` if the port is in use."""
    made = socket.socket(socket.AF_INET, kind)
    try:
        made.bind((HOST, number))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return made
