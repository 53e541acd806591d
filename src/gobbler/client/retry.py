"""When the client tries again, how often, and how long it waits in between.

Four rules, each with its constants here:

- **Reads** over HTTP (``READ_*``): a connection that breaks is opened again at once, a few
  times. A ``POST`` is never sent twice, since its request must be carried out at most once.
- **Requests that did not begin** (``REQUEST_*``): a service that is busy, or stops, says that it
  has changed nothing, so the same request is sent again in a new file, after the time it names.
- **Outages** (``RETRY_SECONDS``, ``RETRY_*_PAUSE``): long work, such as a bulk run, waits for a
  service that restarts.
- **Polls** (``POLL_*``): how often a job is read while the client waits for its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from gobbler.client import errors
from gobbler.client.notices import Waiting, notify
from gobbler.client.parallel import Stop
from gobbler.errors import Code, GobblerError, Unreachable

T = TypeVar("T")

READ_ATTEMPTS = 3

READ_PAUSE = 0.2
"""Seconds before the second attempt; each further pause is twice as long."""

RETRY_SECONDS = 120.0
"""Seconds for which a service may be unreachable."""

RETRY_FIRST_PAUSE = 0.5
RETRY_LONGEST_PAUSE = 10.0

POLL_FIRST_PAUSE = 0.02
POLL_LONGEST_PAUSE = 5.0

POLL_SHORT_PAUSE = 0.5
"""Seconds up to which the pauses grow quickly; then each wait grows by a twentieth."""

TEMPORARY = frozenset({Code.BUSY, Code.STOPPING})
"""Codes of a service that has not begun the request, or has rolled it back; send it again."""

REQUEST_SECONDS = 120.0
"""Seconds for which a request that did not begin is sent again."""

REQUEST_PAUSE = 5.0
"""Seconds to wait before it is sent again, unless the service names a number."""

REQUEST_SHORTEST_PAUSE = 0.5
REQUEST_LONGEST_PAUSE = 30.0


def send_until_begun(send: Callable[[], T]) -> T:
    """Return what ``send`` returns; call it again while the service has not begun the request.

    After a service that stops there may be none for a moment, so a connection that can't be made
    counts the same then. Tells the user once. Raises the last error after
    :data:`REQUEST_SECONDS`.
    """
    deadline: float | None = None
    while True:
        try:
            return send()
        except GobblerError as error:
            may_follow = error.code in TEMPORARY or (
                deadline and isinstance(error, errors.NotConnected)
            )
            if not may_follow:
                raise
            now = time.monotonic()
            if deadline is None:
                deadline = now + REQUEST_SECONDS
                notify(
                    f"{error.reason}; sending the request again for up to {REQUEST_SECONDS:.0f} "
                    "seconds",
                    Waiting,
                )
            after = getattr(error, "retry_after", None)
            wanted = REQUEST_PAUSE if after is None else after
            pause = min(max(wanted, REQUEST_SHORTEST_PAUSE), REQUEST_LONGEST_PAUSE)
            if now + pause > deadline:
                raise
        time.sleep(pause)


def read_pause(failed: int) -> float:
    """Seconds to wait after ``failed`` attempts to read."""
    return float(READ_PAUSE * 2 ** (failed - 1))


def next_poll_pause(seconds: float) -> float:
    """The pause after one of ``seconds`` between two polls of a job."""
    growth = 1.3 if seconds < POLL_SHORT_PAUSE else 1.05
    return min(seconds * growth, POLL_LONGEST_PAUSE)


def is_temporary(error: GobblerError) -> bool:
    """Whether the same call may succeed later: no service answers, or it takes none."""
    if error.code == Code.UNTRUSTED:
        return False
    return isinstance(error, Unreachable) or error.code in TEMPORARY


def call_with_retries(
    call: Callable[[], T], stop: Stop, note: Callable[[str], None], seconds: float
) -> T:
    """Return what ``call`` returns; call it again for ``seconds`` while no service answers.

    ``call`` must do no harm when it is called twice. ``note`` is called once, with a message for
    the user. Raises the last error, and :class:`~gobbler.errors.Cancelled` on ``stop``.
    """
    deadline: float | None = None
    pause = RETRY_FIRST_PAUSE
    while True:
        try:
            return call()
        except GobblerError as error:
            if not is_temporary(error):
                raise
            now = time.monotonic()
            if deadline is None:
                deadline = now + seconds
                note(f"{error.reason}; retrying for up to {seconds:.0f} seconds")
            if now + pause > deadline:
                raise
        stop.wait(pause)
        pause = min(pause * 2, RETRY_LONGEST_PAUSE)
