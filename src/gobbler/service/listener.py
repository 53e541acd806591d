"""The socket on which a service listens: its own, or one that systemd hands to it.

One socket serves all HTTP workers, and the supervisor holds it: who connects while a worker is
started, or after it has died, waits in the queue of the kernel. Only one process can listen at an
address, so of two services that start at the same moment one is refused.

With socket activation (``sd_listen_fds(3)``) the socket outlives the service: while it restarts,
connections wait in the kernel and none is refused.
"""

from __future__ import annotations

import errno
import os
import socket

from gobbler.errors import Code, Misconfigured, quoted
from gobbler.fs.listeners import listeners
from gobbler.fs.open import user_name
from gobbler.service.connections import limit_connections

FIRST_DESCRIPTOR = 3
"""The first socket that systemd hands over."""

BACKLOG = 4096
"""Connections that wait to be accepted."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port`` that does not listen yet, so nobody can connect.

    Raises :class:`~gobbler.errors.Misconfigured`.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without it, connections of a service that has ended would keep the next one out.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise _not_bound(error, host, port) from None
    return made


def listen(bound: socket.socket, host: str, port: int) -> None:
    """Listen at a socket of :func:`bound_socket`.

    Raises :class:`~gobbler.errors.Misconfigured` if another process was faster.
    """
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        raise _not_bound(error, host, port) from None
    bound.setblocking(False)  # or a worker would wait for a connection that another one took
    limit_connections(bound)


def _not_bound(error: OSError, host: str, port: int) -> Misconfigured:
    if error.errno == errno.EADDRINUSE:
        return _in_use(host, port)
    return Misconfigured(f"could not listen at {host}, port {port}: {error.strerror}")


def _in_use(host: str, port: int) -> Misconfigured:
    """The error for an address at which another process listens."""
    found = next(listeners(port), None)
    holder = "another process"
    if found is not None:
        process = found.process()
        what = "a process" if process is None else f"process {process}"
        holder = f"{what} of the account {quoted(user_name(found.user))}"
    return Misconfigured(
        f"port {port} of {host} is in use by {holder}",
        hint="Choose another one with --port, or stop that process.",
    )


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
    limit_connections(found)
    return found


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
