"""Another user's process that swaps two paths of theirs, again and again, as fast as it can.

``renameat2`` with ``RENAME_EXCHANGE`` leaves no moment at which one of them is missing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from .processes import identity, interpreter

SWAPPING = r"""
import ctypes, os, random, sys, threading, time

CWD, EXCHANGE = -100, 2
libc = ctypes.CDLL(None, use_errno=True)
honest, trap, refill = sys.argv[1], sys.argv[2], sys.argv[3:]

def exchange():
    if libc.renameat2(CWD, honest.encode(), CWD, trap.encode(), EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2", honest, 0, trap)

def fill():
    for path, content in zip(refill[::2], refill[1::2]):
        if not os.path.lexists(path):
            beside = trap + ".refill"  # an empty file would be published as such
            with open(beside, "w") as handle:
                handle.write(content)
            os.rename(beside, path)

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
exchange(), exchange()
print("swapping", flush=True)
swaps = 0
while not stop.is_set():
    fill()
    for _ in range(random.choice((1, 10, 100, 1000, 10000))):
        exchange(), exchange()
        swaps += 2
    # Else hardly anything would look honest for as long as a request takes.
    time.sleep(random.random() * 0.005)
print(swaps, flush=True)
"""
"""At rest, what is honest is in its place. ``refill``: paths and contents of its files."""


class Swapper:
    """The process, which runs as ``user`` during the block."""

    def __init__(
        self, user: str, honest: Path, trap: Path, refill: dict[Path, str] | None = None
    ) -> None:
        python, environment = interpreter(user)
        words = [str(word) for item in (refill or {}).items() for word in item]
        self.swaps = 0
        self._process = subprocess.Popen(
            [python, "-c", SWAPPING, str(honest), str(trap), *words],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **identity(user),
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "swapping\n":
            raise RuntimeError(f"{honest} and {trap} can't be swapped by {user}")

    def __enter__(self) -> Swapper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        reported, _ = self._process.communicate("")
        if kind is None:
            assert self._process.returncode == 0
            self.swaps = int(reported)
