"""Whose job is next: many users, few who work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Waiting(NamedTuple):
    """A job that waits: whose it is, and since when (seconds since the epoch)."""

    job: str
    uid: int
    since: float


class UserTurns:
    """The jobs that wait, to be taken one by one as somebody has time for them.

    First comes the user of whom the fewest jobs run, then the one who was served the
    longest ago; of a user's jobs the oldest. The last of several slots is kept for users
    of whom nothing runs, so that one user's long jobs never occupy all.
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
        """Take the job whose turn it is, if any may begin with so many of the ``slots`` free.

        ``running`` counts the jobs of each user; ``served`` tells when each had a turn.
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
