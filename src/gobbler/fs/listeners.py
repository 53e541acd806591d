"""Who listens at a port of this host, as far as the kernel tells; see ``proc_net_tcp(5)``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

_LISTENING = "0A"


class Listener(NamedTuple):
    """A socket that listens: the user ID of its owner, and its inode."""

    user: int
    inode: int

    def process(self) -> int | None:
        """The ID of a process that holds the socket; ``None`` if this account can't see it."""
        wanted = f"socket:[{self.inode}]"
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    for descriptor in os.listdir(f"/proc/{name}/fd"):
                        if os.readlink(f"/proc/{name}/fd/{descriptor}") == wanted:
                            return int(name)
        return None


def listeners(port: int, tables: Iterable[str] = TABLES) -> Iterator[Listener]:
    """The sockets that listen at ``port``, at any address of this host."""
    for table in tables:
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield Listener(int(fields[7]), int(fields[9]))
