"""What every case is made of, and the least that anybody would have to do instead."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import Peer

numbers = itertools.count(1)


class Case:
    """The base: a project of its own, and a fresh version name for each run.

    ``found``: what else a run has shown, by name.
    """

    title = ""
    unit = "files"
    amount = 0
    yardstick_title = ""
    by_name = False
    """Takes so long that it runs only where ``--case`` names it, and once."""
    needs = ""
    """A command without which it is left out."""
    work: Callable[[], None]

    def __init__(self, peer: Peer, scale: float) -> None:
        self.peer = peer
        self.scale = scale
        self.project = peer.project()
        self.found: dict[str, float] = {}
        self.prepare()

    def scaled(self, number: int) -> int:
        """``number``, made smaller for a quick look."""
        return max(1, int(number * self.scale))

    def staged(self) -> Path:
        """A path in staging where nothing stands."""
        return self.peer.staging / f"bench-{os.getpid()}-{next(numbers)}"

    def prepare(self) -> None:
        """What all runs need."""

    def before(self) -> None:
        """What one run needs."""

    def after(self) -> None:
        """Clear away what is large after a run.

        Many files stay until all is done: where a filesystem does not use an inode again
        for minutes (ext4 without a journal), whoever makes files next would pay.
        """

    def yardstick(self) -> None:
        """What it is compared with."""

    def finish(self) -> None:
        """Clear away, once all cases are done."""
        self.peer.remove(self.project)
        for path in self.peer.staging.glob(f"bench-{os.getpid()}-*"):
            shutil.rmtree(path, ignore_errors=True)


def run(*words: object) -> None:
    """Run a command."""
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def md5sum(top: Path) -> None:
    """Hash every file below ``top``."""
    run("sh", "-c", f"find '{top}' -type f -print0 | xargs -0 md5sum")


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
