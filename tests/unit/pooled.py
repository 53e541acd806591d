"""What processes of a local pool do in tests."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

from gobbler.errors import Cancelled, Refused
from gobbler.model.progress import Progress

PATIENCE = 30.0


class Unreadable(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def who(batch: object, progress: Progress) -> int:
    """The process that does it."""
    return os.getpid()


def echo(batch: bytes, progress: Progress) -> bytes:
    """What was sent."""
    return batch


def warn(batch: str, progress: Progress) -> int:
    """Log something."""
    logging.getLogger("gobbler.test").warning("beware of the %s", batch)
    return os.getpid()


def refuse(batch: object, progress: Progress) -> int:
    """Fail with an error of a request."""
    raise Refused("no, not that", hint="try another one")


def fail(batch: object, progress: Progress) -> int:
    """Fail with an error that can't be handed on."""
    raise Unreadable("one", "other")


def die(batch: str, progress: Progress) -> int:
    """Be killed, unless it is in a thread of the tests."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def wait_until_gone(batch: str, progress: Progress) -> int:
    """Work until the directory ``batch`` is gone, which cancels it."""
    Path(batch, f"begun-{os.getpid()}").touch()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        progress.advance(1, 10)
        time.sleep(0.01)
        if not Path(batch).exists():
            raise Cancelled("the directory is gone")
    return os.getpid()
