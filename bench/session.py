"""What all cases of one run share: the services, the data, and a place for both."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import data
from bench.limit import Limit
from bench.peers import Connection, Peer
from gobbler.fs import mounts

numbers = itertools.count(1)


class LeftOut(Exception):
    """A case that can't be measured here; the message says why."""


@dataclass
class Session:
    """One run of the bench.

    ``top``: a directory for everything that no service needs. ``peers``: the services, ours first.
    ``original``: an interpreter that has the original client. ``limit``: the C program, if it could
    be compiled. ``failed``: titles of cases.
    """

    top: Path
    peers: list[Peer]
    scale: float = 1.0
    original: Path | None = None
    limit: Limit | None = None
    failed: list[str] = field(default_factory=list)
    _sources: dict[tuple[str, str], Path] = field(default_factory=dict)
    _large: dict[int, Path] = field(default_factory=dict)

    def scaled(self, number: int) -> int:
        """``number``, made smaller for a quick look."""
        return max(1, int(number * self.scale))

    def small_files(self, peer: Peer) -> Path:
        """10,000 files of 4 KiB in the staging of ``peer``: the same ones for all cases."""

        def make(path: Path) -> None:
            data.small_files(path, self.scaled(10_000), 4096)

        return self._shared(peer, "small", make)

    def large_file(self, peer: Peer) -> Path:
        """A directory with one file of 1 GiB in the staging of ``peer``.

        Peers on one filesystem get hard links to one file, so that memory holds it only once.
        """
        size = self.scaled(1024) << 20

        def make(path: Path) -> None:
            first = self._large.setdefault(size, path)
            if first != path:
                path.mkdir()
                try:
                    os.link(first / "file", path / "file")
                except OSError:
                    shutil.rmtree(path)
                else:
                    return
            data.one_file(path, size)

        return self._shared(peer, "large", make)

    def _shared(self, peer: Peer, kind: str, make: Callable[[Path], None]) -> Path:
        key = peer.url, kind
        if key not in self._sources:
            path = staged(peer)
            make(path)
            self._sources[key] = path
        return self._sources[key]

    def place(self) -> Path:
        """A path outside of all services where nothing stands."""
        return self.top / f"bench-{next(numbers)}"

    def remove_places(self) -> None:
        """Remove what stands there: large files, which would fill a memory filesystem."""
        for path in self.top.glob("bench-*"):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def is_in_memory(self) -> bool:
        """Whether there is no disk."""
        return filesystem(self.top) in IN_MEMORY

    def settle(self) -> None:
        """Flush what earlier runs have left to the disk, which would disturb the next one."""
        if not self.is_in_memory:
            os.sync()

    def reconnect(self) -> None:
        """Connect again: a request may have been interrupted before its answer."""
        for peer in self.peers:
            peer.connection = Connection(peer.url)

    def finish(self) -> None:
        """Clear away what services keep; one that the bench started goes with its directories."""
        for peer in self.peers:
            if peer.command is None:
                peer.clear()


def staged(peer: Peer) -> Path:
    """A path in the staging of ``peer`` where nothing stands."""
    return peer.staging / f"bench-{os.getpid()}-{next(numbers)}"


def filesystem(path: Path) -> str:
    """The kind of the filesystem that holds ``path``, such as ``ext4``."""
    mount = mounts.mount_of(mounts.read(), str(path.resolve()))
    return mount.kind if mount is not None else "unknown"


IN_MEMORY = ("tmpfs", "ramfs")
