"""The socket on which a service listens: its own, or one that systemd hands to it.

With socket activation (``sd_listen_fds(3)``) the socket outlives the service: while it restarts,
connections wait in the kernel and none is refused.
"""

from __future__ import annotations

import os
import socket

from gobbler.errors import Code, Misconfigured

BACKLOG = 4096
"""Connections that wait to be accepted."""

FIRST_DESCRIPTOR = 3
"""The first socket that systemd hands over."""


def inherited_socket() -> socket.socket | None:
    """The socket that systemd has handed to this process; ``None`` without socket activation.

    Call it once: the variables of socket activation are removed, so that no child believes that
    they are meant for it. Raises :class:`~gobbler.errors.Misconfigured` if systemd handed over
    something else than one listening TCP socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if count != "1":
        raise _unusable(f"systemd handed over {count or 'no'} sockets, not one")
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    try:
        found = socket.socket(fileno=FIRST_DESCRIPTOR)
    except OSError as error:
        raise _unusable(f"what systemd handed over is no socket: {error.strerror}") from None
    if found.family not in (socket.AF_INET, socket.AF_INET6) or not _listens(found):
        raise _unusable("the socket of systemd is not a listening TCP socket")
    found.setblocking(False)  # or a worker would wait for a connection that another one took
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at ``host`` and ``port``; connections wait until it accepts them.

    Raises :class:`~gobbler.errors.Misconfigured`.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The kernel shares connections out to all sockets at the port, one for each worker. And
        # whoever has reserved the port for this service keeps it bound.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise Misconfigured(f"could not listen at {host}, port {port}: {error.strerror}") from None
    made.setblocking(False)
    return made


def _listens(found: socket.socket) -> bool:
    return bool(
        found.type == socket.SOCK_STREAM
        and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def _unusable(reason: str) -> Misconfigured:
    return Misconfigured(
        reason,
        code=Code.INVALID_CONFIGURATION,
        hint="In the .socket unit, set one ListenStream=ADDRESS:PORT, and no Accept=.",
    )
