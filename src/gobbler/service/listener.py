"""The socket on which a service listens: its own, or one that systemd hands to it.

With socket activation (``sd_listen_fds(3)``) the socket outlives the service: while it restarts,
connections wait in the kernel and none is refused.
"""

from __future__ import annotations

import os
import socket

from gobbler.errors import Code, Misconfigured

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


def stop_accepting(descriptor: int) -> None:
    """Let this process accept no more connections from the socket ``descriptor``.

    Those that come wait in the kernel for the next service. The HTTP server knows the socket by
    its number only; from now on, that is the number of a socket to which nobody connects.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        deaf.setblocking(False)
        os.dup2(deaf.fileno(), descriptor, inheritable=False)


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
