"""The port guard: one service at an address, though its port can be shared.

HTTP workers share a port (``SO_REUSEPORT``, see ``socket(7)``), and the kernel lets all processes
of one account do so: two services that start at the same moment would each get half of the
requests, without an error. So the supervisor holds a name in the abstract namespace of
``unix(7)``, which vanishes with its process.
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

from gobbler.errors import Misconfigured, quoted
from gobbler.fs.listeners import listeners
from gobbler.fs.open import user_name

_CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user, group."""

BACKLOG = 64
"""Number of rejected services that may queue; long before it is full, the port is in use."""

LISTENS_WITHIN = 0.1
"""Seconds within which a service that has bound a name listens."""


@contextmanager
def alone_at(host: str, port: int) -> Iterator[bool]:
    """Whether no other service of this account starts at ``host`` and ``port``.

    No other can start during the block. Does not notice if one service listens at all addresses
    (such as ``0.0.0.0``) and the other at one; see also :func:`check_address`.
    """
    name = _name(os.geteuid(), host, port)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        try:
            held.bind(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # Anybody may bind any name; only our own account can share the port.
            yield not _is_held_by(os.geteuid(), name)
            return
        held.listen(BACKLOG)
        yield True


def _name(user: int, host: str, port: int) -> str:
    # A name is short; that of a host may be long.
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
    """Check that the service can listen at ``host`` and ``port``.

    Raises :class:`~gobbler.errors.Misconfigured`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            # Only a listening socket notices another one that shares the port.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise in_use(host, port) from None
        raise Misconfigured(f"could not listen at {host}, port {port}: {error.strerror}") from None


def in_use(host: str, port: int) -> Misconfigured:
    """The error for an address at which another process listens, or is about to."""
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
