"""Which job runs next, so that every user gets a fair share of the workers."""

from __future__ import annotations

import heapq
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

    A job is added, removed or chosen at a cost that hardly depends on how many wait.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._waiting: dict[str, Waiting] = {}
        # Jobs that do not wait any more stay in the heap of their user until they come first.
        self._queues: dict[int, list[tuple[float, str]]] = {}
        for job in waiting:
            self.add(job)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job: Waiting) -> None:
        """Let ``job`` wait; it replaces one of the same name."""
        if self._waiting.get(job.job) != job:
            self._waiting[job.job] = job
            heapq.heappush(self._queues.setdefault(job.uid, []), (job.since, job.job))

    def discard(self, job: str) -> None:
        """Let the job of that name wait no more, if it does."""
        self._waiting.pop(job, None)

    def clear(self) -> None:
        """Let no job wait."""
        self._waiting.clear()
        self._queues.clear()

    def next(
        self, running: Mapping[int, int], served: Mapping[int, float], *, free: int, slots: int
    ) -> Waiting | None:
        """Take the next job, if one may start when ``free`` of the ``slots`` are free.

        ``running``: the number of running jobs by user. ``served``: when each user had a turn.
        """
        reserved = free == 1 and slots > 1
        candidates = [
            oldest
            for uid in tuple(self._queues)
            if free > 0
            and not (reserved and running.get(uid))
            and (oldest := self._oldest(uid)) is not None
        ]
        if not candidates:
            return None
        chosen = min(
            candidates,
            key=lambda job: (running.get(job.uid, 0), served.get(job.uid, 0.0), job.since),
        )
        heapq.heappop(self._queues[chosen.uid])
        del self._waiting[chosen.job]
        return chosen

    def _oldest(self, uid: int) -> Waiting | None:
        """The oldest waiting job of a user."""
        queue = self._queues[uid]
        while queue:
            since, name = queue[0]
            job = self._waiting.get(name)
            if job is not None and (job.uid, job.since) == (uid, since):
                return job
            heapq.heappop(queue)
        del self._queues[uid]
        return None
