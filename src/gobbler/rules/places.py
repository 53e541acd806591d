"""Who gets a place: work of many users, or of many clients, that must not all run at once.

A user has at most a share of the places, and the last ones are reserved for users who have none.
So one user who asks for hundreds never keeps others waiting. Among those who wait, the user with
the fewest places comes first, then the one who was served the longest ago.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

U = TypeVar("U", bound=Hashable)
W = TypeVar("W", bound=Hashable)


@dataclass(frozen=True)
class Shares:
    """The number of ``places``, and how they are shared.

    ``each``: places that one user may have. ``reserved``: the last places, for users without one.
    ``waiting``: how much work of one user may wait, and of all users eight times as much.
    """

    places: int
    each: int
    reserved: int = 0
    waiting: int = 1024

    @property
    def all_waiting(self) -> int:
        """How much work may wait."""
        return 8 * self.waiting


class PlaceTable(Generic[U, W]):
    """The places that are taken, by user, and the work that waits for one.

    Not safe for threads.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._taken: dict[U, int] = {}
        self._free = shares.places
        self._waiting: dict[U, deque[W]] = {}
        self._count = 0
        self._served: dict[U, int] = {}
        self._turn = itertools.count()

    def is_wanted(self, user: U) -> bool:
        """Whether somebody waits who would get the place that ``user`` gives back."""
        return any(self._may_take(other, given_back_by=user) for other in self._waiting)

    def take(self, user: U) -> bool:
        """Take a place now, if ``user`` may."""
        if not self._may_take(user):
            return False
        self._free -= 1
        self._taken[user] = self._taken.get(user, 0) + 1
        if user in self._waiting:
            self._served[user] = next(self._turn)
        return True

    def wait(self, user: U, work: W) -> bool:
        """Let ``work`` wait for a place; ``False`` if too much waits already."""
        queue = self._waiting.get(user)
        if self._count >= self.shares.all_waiting or (
            queue is not None and len(queue) >= self.shares.waiting
        ):
            return False
        self._waiting.setdefault(user, deque()).append(work)
        self._count += 1
        return True

    def withdraw(self, user: U, work: W) -> bool:
        """Let ``work`` wait no longer; ``False`` if it has got its place."""
        queue = self._waiting.get(user)
        if queue is None or work not in queue:
            return False
        queue.remove(work)
        self._shrink(user)
        return True

    def leave(self, user: U) -> list[W]:
        """Give a place back; returns the work that gets one now."""
        self._free += 1
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]
        found: list[W] = []
        if not self._waiting:
            return found
        while (next_user := self._next()) is not None:
            self.take(next_user)
            found.append(self._waiting[next_user].popleft())
            self._shrink(next_user)
        return found

    def _may_take(self, user: U, given_back_by: U | None = None) -> bool:
        taken, free = self._taken.get(user, 0), self._free
        if given_back_by is not None:
            taken, free = taken - (user == given_back_by), free + 1
        if taken == 0:
            return free > 0
        return taken < self.shares.each and free > self.shares.reserved

    def _next(self) -> U | None:
        able = [user for user in self._waiting if self._may_take(user)]
        return min(
            able,
            key=lambda user: (self._taken.get(user, 0), self._served.get(user, -1)),
            default=None,
        )

    def _shrink(self, user: U) -> None:
        self._count -= 1
        if not self._waiting[user]:
            del self._waiting[user]
            self._served.pop(user, None)
