"""What every case is made of, and the least that anybody would have to do instead."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import ClassVar

from bench.measuring import Sample, measured
from bench.peers import Peer
from bench.session import Session, numbers, staged


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
    goal: ClassVar[float | None] = None
    """How many times as fast as the peer it shall be."""
    within: ClassVar[float | None] = None
    """Seconds that it shall take at most. A case of the table has one of the two."""
    is_typical = False
    """The median of all runs counts, not the least: what is measured is how others disturb it."""
    on_quiet_disk = True
    """What was written before is flushed before each run."""
    work: Callable[[], object]

    def __init__(self, peer: Peer, session: Session) -> None:
        self.peer = peer
        self.session = session
        self.project = peer.project()
        self.found: dict[str, float] = {}
        self.prepare()

    @classmethod
    def sides(cls, session: Session) -> list[Case]:
        """The case for each side of a comparison, ours first: by default, for each service.

        Raises :class:`~bench.session.LeftOut`.
        """
        return [cls(peer, session) for peer in session.peers]

    @classmethod
    def rounds(cls, cases: Sequence[Case], runs: int) -> Generator[None, None, None]:
        """One item for each time that all sides run."""
        del cases
        yield from iter([None] * runs)

    def scaled(self, number: int) -> int:
        """``number``, made smaller for a quick look."""
        return self.session.scaled(number)

    def staged(self) -> Path:
        """A path in staging where nothing stands."""
        return staged(self.peer)

    def prepare(self) -> None:
        """What all runs need."""

    def before(self) -> None:
        """What one run needs."""

    def measure(self) -> Sample:
        """What ``work`` costs."""
        return measured(self.work, self.peer.pid)

    def after(self) -> None:
        """Clear away what is large after a run.

        Many files stay until all is done: where a filesystem does not use an inode again
        for minutes (ext4 without a journal), whoever makes files next would pay.
        """

    def yardstick(self) -> None:
        """What it is compared with."""

    def least(self) -> list[str] | None:
        """The words for the C program that does the least for the same; see ``least.c``."""
        return None


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


__all__ = ["Case", "md5sum", "numbers", "run", "seconds"]
