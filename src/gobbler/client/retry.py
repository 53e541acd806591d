"""Asking again where there was no answer, as while a service is started anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from gobbler.client.parallel import Stop
from gobbler.errors import Code, GobblerError, Unreachable

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds for which a service may be away."""

TEMPORARY = frozenset({Code.STOPPING})
"""Codes of a service that put the request back and will carry it out when it is sent again."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0


def may_pass(error: GobblerError) -> bool:
    """Whether asking again may help: there was no answer, or the service was being stopped."""
    return isinstance(error, Unreachable) or error.code in TEMPORARY


def patiently(call: Callable[[], T], stop: Stop, told: Callable[[str], None], patience: float) -> T:
    """What ``call`` answers, called again for up to ``patience`` seconds without an answer.

    What it does must be the same when it is done twice. ``told`` is told once of what is
    waited for. Raises the last error, and :class:`~gobbler.errors.Cancelled` on ``stop``.
    """
    deadline: float | None = None
    pause = FIRST_PAUSE
    while True:
        try:
            return call()
        except GobblerError as error:
            if not may_pass(error):
                raise
            now = time.monotonic()
            if deadline is None:
                deadline = now + patience
                told(f"{error.reason}; trying again for up to {patience:.0f} seconds")
            if now + pause > deadline:
                raise
        stop.wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
