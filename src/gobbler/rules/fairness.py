"""Whose job is next: many users, few who work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Waiting(NamedTuple):
    """A job that waits: whose it is, and since when (seconds since the epoch)."""

    job: str
    uid: int
    since: float


def in_turn(
    waiting: Iterable[Waiting],
    running: Mapping[int, int],
    served: Mapping[int, float],
    *,
    free: int,
    slots: int,
) -> list[Waiting]:
    """The order in which the jobs are to be tried now; those that must wait are left out.

    First comes the user of whom the fewest jobs run, then the one who was ``served`` the
    longest ago; of a user's jobs the oldest. ``running`` counts the jobs of each user.
    The last of several ``slots`` is kept for users of whom nothing runs, so that one
    user's long jobs never occupy all.
    """
    first: dict[int, Waiting] = {}
    for job in sorted(waiting, key=lambda job: (job.since, job.job)):
        first.setdefault(job.uid, job)
    reserved = free == 1 and slots > 1
    candidates = [job for job in first.values() if not (reserved and running.get(job.uid))]
    return sorted(
        candidates, key=lambda job: (running.get(job.uid, 0), served.get(job.uid, 0.0), job.since)
    )
