"""One service at an address, though its port could be shared.

Workers share a port (``SO_REUSEPORT``, see ``socket(7)``), which the kernel lets all processes
of one account do: two services that start at the same moment would each get half of the
requests, and neither would be told. So the supervisor holds a name of the abstract namespace
(``unix(7)``), which goes when it ends, however it ends.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gobbler.errors import Misconfigured

_CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user, group."""

BACKLOG = 64
"""Of those who come too late. When it is full, the port is long in use, which is seen as well."""

LISTENS_WITHIN = 0.1
"""Seconds after which whoever has taken a name listens; no service takes so long."""


@contextmanager
def alone_at(host: str, port: int) -> Iterator[bool]:
    """Whether no other service of this account is, or is about to be, at ``host`` and ``port``.

    None can come for as long as the block lasts. That one of them is at all addresses (such as
    ``0.0.0.0``) and the other at one is not noticed. A service that already listens is another
    matter: see :func:`check_address`.
    """
    name = _name(os.geteuid(), host, port)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        try:
            held.bind(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # Anybody may take any name; only our own account can share the port.
            yield not _is_held_by(os.geteuid(), name)
            return
        held.listen(BACKLOG)
        yield True


def _name(user: int, host: str, port: int) -> str:
    # Names are short, of hosts they need not be.
    address = hashlib.blake2b(f"{host} {port}".encode(), digest_size=16).hexdigest()
    return f"\0gobbler-serve-{user}-{address}"


def _is_held_by(user: int, name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        if asking.connect_ex(name) != 0:
            time.sleep(LISTENS_WITHIN)
            if asking.connect_ex(name) != 0:
                return False
        packed = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    holder: int = _CREDENTIALS.unpack(packed)[1]
    return holder == user


def check_address(host: str, port: int) -> None:
    """Make sure that the service can listen at ``host`` and ``port``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            # Only a listening socket finds out about one that may share the port.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise in_use(host, port) from None
        raise Misconfigured(f"can't listen at {host}, port {port}: {error.strerror}") from None


def in_use(host: str, port: int) -> Misconfigured:
    """The error for an address at which another process listens, or is about to."""
    return Misconfigured(
        f"port {port} of {host} is in use by another process",
        hint="Choose another one with --port, or stop that process.",
    )
