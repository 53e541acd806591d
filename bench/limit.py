"""The least that an upload costs: a C program (``least.c``) that does only what it must."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("least.c")


class Limit:
    """Compiles the program into ``top``.

    Raises ``RuntimeError``, which says what is missing, if that is not possible.
    """

    def __init__(self, top: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("there is no C compiler (cc)")
        self._program = top / "least"
        words = [compiler, "-O2", "-pthread", "-o", str(self._program), str(SOURCE), "-lcrypto"]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise RuntimeError(f"cc can't compile it (it needs libssl-dev): {first}")

    def seconds(self, threads: int, words: list[str]) -> float:
        """Seconds that the program measures with ``threads`` threads, without its own start."""
        work, *paths = words
        done = subprocess.run(
            [str(self._program), work, str(threads), *paths],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return float(done.stdout)


def widths() -> tuple[int, ...]:
    """The numbers of threads to try: one, and as many as there are processors."""
    processors = len(os.sched_getaffinity(0))
    return (1, processors) if processors > 1 else (1,)
