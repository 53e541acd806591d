"""One of several processes that compete for files; see :mod:`gobbler.doctor.contenders`.

It runs as a script in the directory of the files. It imports nothing of this package, so it
starts quickly. It reads one command per line, answers each with one line, and ends at the end
of its input.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable

TYPE_CHECKING = False  # importing typing is slow
if TYPE_CHECKING:
    from typing import TextIO

HELD = "held"
BUSY = "busy"
PAUSE = 0.0005
"""Seconds between two rounds of a race."""

_open: list[int] = []


def lock(name: str, kind: str) -> str:
    """Open a file and take its lock if it is free; held until ``free``."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    operation = fcntl.LOCK_EX if kind == "exclusive" else fcntl.LOCK_SH
    return _take(descriptor, lambda: fcntl.flock(descriptor, operation | fcntl.LOCK_NB))


def record(name: str) -> str:
    """Take the record lock (``F_SETLK``) on a whole file if it is free."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _take(descriptor, lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))


def _take(descriptor: int, take: Callable[[], object]) -> str:
    try:
        take()
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return BUSY
        raise
    _open.append(descriptor)
    return HELD


def free() -> str:
    """Release all locks."""
    while _open:
        os.close(_open.pop())
    return "free"


def race(prefix: str, rounds: str, start: str) -> str:
    """Create one file in each round, exclusively. A digit per round: 1 if this process did.

    All contenders begin at ``start`` of the monotonic clock, which they share.
    """
    won = ""
    for number in range(int(rounds)):
        while time.monotonic() < float(start) + number * PAUSE:
            pass
        try:
            os.close(os.open(f"{prefix}{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            won += "0"
        else:
            won += "1"
    return won


def watch(name: str, last: str, seconds: str) -> str:
    """Read a file until it holds ``last``: how often it was read, missing and damaged."""
    reads = missing = damaged = 0
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        reads += 1
        try:
            with open(name, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            missing += 1
            continue
        # The content is always one letter, repeated.
        damaged += not content or content != content[:1] * len(content)
        if content[:1] == last.encode():
            break
    return f"{reads} {missing} {damaged}"


COMMANDS: dict[str, Callable[..., str]] = {
    "lock": lock,
    "record": record,
    "free": free,
    "race": race,
    "watch": watch,
}


def main(commands: TextIO, answers: TextIO) -> None:
    """Answer commands until the end of the input."""
    for line in commands:
        command, *words = line.split()
        try:
            answer = COMMANDS[command](*words)
        except OSError as error:
            answer = f"failed {error.errno}"
        answers.write(f"{answer}\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
