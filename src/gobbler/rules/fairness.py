"""Which job runs next, so that every user gets a fair share of the workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Waiting(NamedTuple):
    """A waiting job: its user ID, and since when it waits (seconds since the epoch)."""

    job: str
    uid: int
    since: float


class UserTurns:
    """The waiting jobs, in the order in which they run.

    The user with the fewest running jobs comes first, then the one who was served the longest ago;
    of a user's jobs the oldest. The last of several slots is reserved for users without a running
    job, so the long jobs of one user never occupy all slots.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._queues: dict[int, deque[Waiting]] = {}
        for job in sorted(waiting, key=lambda job: (job.since, job.job)):
            self._queues.setdefault(job.uid, deque()).append(job)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def next(
        self, running: Mapping[int, int], served: Mapping[int, float], *, free: int, slots: int
    ) -> Waiting | None:
        """Take the next job, if one may start when ``free`` of the ``slots`` are free.

        ``running``: the number of running jobs by user. ``served``: when each user had a turn.
        """
        reserved = free == 1 and slots > 1
        candidates = [
            queue[0]
            for uid, queue in self._queues.items()
            if free > 0 and not (reserved and running.get(uid))
        ]
        if not candidates:
            return None
        chosen = min(
            candidates,
            key=lambda job: (running.get(job.uid, 0), served.get(job.uid, 0.0), job.since),
        )
        queue = self._queues[chosen.uid]
        queue.popleft()
        if not queue:
            del self._queues[chosen.uid]
        return chosen
